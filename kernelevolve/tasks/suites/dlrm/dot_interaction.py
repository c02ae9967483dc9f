"""Pairwise dot products of feature embeddings, lower triangle, behind the dense part.

The interaction layer of DLRM: every pair of the dense vector and the sparse embeddings once.
"""

import torch
from torch import nn

BATCH, SPARSE, DIM = 1024, 26, 64


class Model(nn.Module):
    def __init__(self, sparse: int) -> None:
        super().__init__()
        self.register_buffer("pairs", torch.tril_indices(sparse + 1, sparse + 1, offset=-1))

    def forward(self, dense: torch.Tensor, sparse: torch.Tensor) -> torch.Tensor:
        """(batch, dim), (batch, sparse, dim) -> (batch, dim + (sparse + 1) * sparse / 2)."""
        features = torch.cat([dense[:, None, :], sparse], dim=1)
        products = torch.bmm(features, features.transpose(1, 2))
        return torch.cat([dense, products[:, self.pairs[0], self.pairs[1]]], dim=1)


def _inputs(batch: int) -> list:
    return [torch.randn(batch, DIM), torch.randn(batch, SPARSE, DIM)]


def get_inputs() -> list:
    return _inputs(BATCH)


def get_input_variants() -> dict:
    return {"batch_1000": _inputs(1000), "batch_37": _inputs(37)}


def get_init_inputs() -> list:
    return [SPARSE]
