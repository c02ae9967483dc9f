"""MBDT: buckets of several dense features, merged into one space of ids: 16 x 1048576.

Features with 3 to 10 borders each, rows. It holds 201 MB of inputs, parameters and results; the buckets of each feature,
which eager passes through memory, take another 134 MB.
"""

import torch
from torch import nn

ROWS = 1 << 20
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
    return {"rows_100003": _inputs(100003), "rows_37": _inputs(37)}


def get_init_inputs() -> list:
    return [BORDERS]
