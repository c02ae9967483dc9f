"""PFFN: a feed-forward network with weights of each sample, float16: 1024 x 200 x 256 x 160.

Batch, length, width, hidden width. The sequence arm of InterFormer: bmm and bias, GELU, RMS norm, bmm, RMS norm.
It holds 378 MB of inputs, parameters and results; what eager passes through memory between its operators takes 66 MB or 105 MB each.
"""

import torch
from torch import nn
from torch.nn import functional as F

BATCH, LENGTH, DIM, HIDDEN = 1024, 200, 256, 160


class Model(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.RMSNorm(hidden, eps=1e-5, dtype=torch.float16)
        self.outer = nn.RMSNorm(dim, eps=1e-5, dtype=torch.float16)
        nn.init.uniform_(self.inner.weight, 0.5, 1.5)
        nn.init.uniform_(self.outer.weight, 0.5, 1.5)

    def forward(self, x: torch.Tensor, up: torch.Tensor, bias: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim), (batch, dim, hidden), (batch, hidden), (batch, hidden, dim) -> like x."""
        hidden = self.inner(F.gelu(torch.baddbmm(bias[:, None, :], x, up)))
        return self.outer(torch.bmm(hidden, down))


def _inputs(batch: int) -> list:
    half = {"dtype": torch.float16}
    return [
        torch.randn(batch, LENGTH, DIM, **half),
        torch.randn(batch, DIM, HIDDEN, **half) / DIM**0.5,
        torch.randn(batch, HIDDEN, **half) * 0.1,
        torch.randn(batch, HIDDEN, DIM, **half) / HIDDEN**0.5,
    ]


def get_inputs() -> list:
    return _inputs(BATCH)


def get_input_variants() -> dict:
    return {"batch_256": _inputs(256), "batch_37": _inputs(37)}


def get_init_inputs() -> list:
    return [DIM, HIDDEN]
