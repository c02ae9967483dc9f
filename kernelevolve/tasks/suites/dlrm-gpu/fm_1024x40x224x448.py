"""Factorisation-machine interaction X (Xᵀ Y), float16: 1024 x 40 x 224 x 448.

Batch, features, their width, columns of Y. The interaction block of Wukong, where Y is made of each sample's features.
It holds 92 MB of inputs, parameters and results; Xᵀ Y, which two batched products pass through memory, takes another 206 MB.
"""

import torch
from torch import nn

BATCH, FEATURES, DIM, COLUMNS = 1024, 40, 224, 448


class Model(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(batch, features, dim), (batch, features, columns) -> (batch, features, columns)."""
        return torch.bmm(x, torch.bmm(x.transpose(1, 2), y))


def _inputs(batch: int) -> list:
    scale = FEATURES**-0.5
    return [
        torch.randn(batch, FEATURES, DIM, dtype=torch.float16) * scale,
        torch.randn(batch, FEATURES, COLUMNS, dtype=torch.float16) * scale,
    ]


def get_inputs() -> list:
    return _inputs(BATCH)


def get_input_variants() -> dict:
    return {"batch_37": _inputs(37), "batch_500": _inputs(500)}
