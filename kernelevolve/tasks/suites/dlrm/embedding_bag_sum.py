"""Sum of the embeddings of each sample's ids.

The sparse half of every DLRM: a multi-hot feature is looked up in its table and its rows are summed. Bags differ in
length, some are empty.
"""

import torch
from torch import nn

BATCH, ROWS, DIM = 8192, 50000, 64


class Model(nn.Module):
    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(rows, dim, mode="sum")

    def forward(self, ids: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """int64 (total,), int64 (batch,): the start of each bag, ascending from 0 -> (batch, dim)."""
        return self.table(ids, offsets)


def _inputs(batch: int, longest: int) -> list:
    lengths = torch.randint(0, longest + 1, (batch,))
    lengths[-1] = longest
    # Squaring makes small ids frequent, as in real traffic.
    ids = (torch.rand(int(lengths.sum())) ** 2 * ROWS).to(torch.int64)
    return [ids, torch.cumsum(lengths, dim=0) - lengths]


def get_inputs() -> list:
    return _inputs(BATCH, 100)


def get_input_variants() -> dict:
    return {"batch_1000": _inputs(1000, 10), "batch_37": _inputs(37, 500)}


def get_init_inputs() -> list:
    return [ROWS, DIM]
