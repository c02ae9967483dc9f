"""MBDT: buckets of several dense features, merged into one space of ids.

Preprocessing of dense features: each has its own few borders; the bucket of a feature, shifted by the number of buckets
of those before it, is a row of a shared embedding table.
"""

import torch
from torch import nn

ROWS = 16384
BORDERS = [3, 10, 5, 7, 4, 8, 6, 9, 3, 10, 5, 7, 4, 8, 6, 9]


class Model(nn.Module):
    def __init__(self, borders: list) -> None:
        super().__init__()
        self.features = len(borders)
        first = 0
        starts = []
        for feature, count in enumerate(borders):
            self.register_buffer(f"borders_{feature}", torch.randn(count).sort().values)
            starts.append(first)
            first += count + 1
        self.register_buffer("starts", torch.tensor(starts))

    def forward(self, dense: torch.Tensor) -> torch.Tensor:
        """One row for each feature: (features, rows) -> int64 (rows, features)."""
        buckets = [torch.bucketize(dense[i], self.get_buffer(f"borders_{i}")) for i in range(self.features)]
        return torch.stack(buckets, dim=1) + self.starts


def _inputs(rows: int) -> list:
    return [torch.randn(len(BORDERS), rows)]


def get_inputs() -> list:
    return _inputs(ROWS)


def get_input_variants() -> dict:
    return {"rows_1000": _inputs(1000), "rows_37": _inputs(37)}


def get_init_inputs() -> list:
    return [BORDERS]
