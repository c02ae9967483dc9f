"""MapId: sparse ids to dense rows through a sorted table: 10000 ids, batch 50000.

Unknown ids get a default. Each sample has 50 ids. It holds 40 MB of inputs, parameters and results.
"""

import torch
from torch import nn

BATCH, PER_SAMPLE, TABLE = 50000, 50, 10000


class Model(nn.Module):
    def __init__(self, default: int) -> None:
        super().__init__()
        self.default = default

    def forward(self, ids: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """int64 (batch, per sample), keys (table,), ascending and distinct, values (table,) -> int64 like the ids."""
        position = torch.searchsorted(keys, ids).clamp(max=keys.shape[0] - 1)
        return torch.where(keys[position] == ids, values[position], self.default)


def _inputs(batch: int, table: int) -> list:
    # Gaps of at least 1 keep the keys distinct.
    keys = torch.cumsum(torch.randint(1, 1000, (table,)), dim=0)
    known = keys[torch.randint(0, table, (batch, PER_SAMPLE))]
    unknown = torch.randint(0, int(keys[-1]) * 2, (batch, PER_SAMPLE))
    ids = torch.where(torch.rand(batch, PER_SAMPLE) < 0.8, known, unknown)
    return [ids, keys, torch.randperm(table)]


def get_inputs() -> list:
    return _inputs(BATCH, TABLE)


def get_input_variants() -> dict:
    return {"batch_2000": _inputs(2000, TABLE), "table_100": _inputs(10000, 100)}


def get_init_inputs() -> list:
    return [-1]
