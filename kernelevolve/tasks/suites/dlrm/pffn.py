"""PFFN: a personalised feed-forward network with weights of each sample.

The sequence arm of InterFormer: a summary of the other features makes the weights of a small network, which runs over
the sample's own sequence: bmm and bias, GELU, RMS norm, bmm, RMS norm.
"""

import torch
from torch import nn
from torch.nn import functional as F

BATCH, LENGTH, DIM, HIDDEN = 256, 50, 64, 48


class Model(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.RMSNorm(hidden, eps=1e-6)
        self.outer = nn.RMSNorm(dim, eps=1e-6)
        nn.init.uniform_(self.inner.weight, 0.5, 1.5)
        nn.init.uniform_(self.outer.weight, 0.5, 1.5)

    def forward(self, x: torch.Tensor, up: torch.Tensor, bias: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim), (batch, dim, hidden), (batch, hidden), (batch, hidden, dim) -> like x."""
        hidden = self.inner(F.gelu(torch.baddbmm(bias[:, None, :], x, up)))
        return self.outer(torch.bmm(hidden, down))


def _inputs(batch: int, length: int) -> list:
    return [
        torch.randn(batch, length, DIM),
        torch.randn(batch, DIM, HIDDEN) / DIM**0.5,
        torch.randn(batch, HIDDEN) * 0.1,
        torch.randn(batch, HIDDEN, DIM) / HIDDEN**0.5,
    ]


def get_inputs() -> list:
    return _inputs(BATCH, LENGTH)


def get_input_variants() -> dict:
    return {"batch_37": _inputs(37, 100), "length_21": _inputs(100, 21)}


def get_init_inputs() -> list:
    return [DIM, HIDDEN]
