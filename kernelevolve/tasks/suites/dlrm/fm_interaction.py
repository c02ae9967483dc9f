"""Factorisation-machine interaction X (Xᵀ Y) with a learned projection Y.

The interaction block of Wukong: all pairwise products of a sample's feature embeddings, compressed to a few columns;
bracketed so that the square matrix X Xᵀ is never formed.
"""

import torch
from torch import nn

BATCH, FEATURES, DIM, COLUMNS = 512, 40, 64, 24


class Model(nn.Module):
    def __init__(self, features: int, columns: int) -> None:
        super().__init__()
        self.projection = nn.Parameter(torch.randn(features, columns) / features**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, features, dim) -> (batch, features, columns)."""
        return torch.matmul(x, torch.matmul(x.transpose(1, 2), self.projection))


def _inputs(batch: int) -> list:
    return [torch.randn(batch, FEATURES, DIM) * 0.2]


def get_inputs() -> list:
    return _inputs(BATCH)


def get_input_variants() -> dict:
    return {"batch_1000": _inputs(1000), "batch_37": _inputs(37)}


def get_init_inputs() -> list:
    return [FEATURES, COLUMNS]
