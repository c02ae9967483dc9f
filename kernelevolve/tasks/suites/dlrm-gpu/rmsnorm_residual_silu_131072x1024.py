"""RMS norm, SiLU and a residual connection in bfloat16: 131072 rows of width 1024.

It holds 805 MB of inputs, parameters and results; what eager passes through memory between its operators takes 268 MB each.
"""

import torch
from torch import nn
from torch.nn import functional as F

ROWS, WIDTH = 131072, 1024


class Model(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6, dtype=torch.bfloat16)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """(rows, width) and (rows, width) -> (rows, width)."""
        return residual + F.silu(self.norm(x))


def _inputs(rows: int) -> list:
    return [torch.randn(rows, WIDTH, dtype=torch.bfloat16), torch.randn(rows, WIDTH, dtype=torch.bfloat16)]


def get_inputs() -> list:
    return _inputs(ROWS)


def get_input_variants() -> dict:
    return {"rows_1000": _inputs(1000), "rows_37": _inputs(37)}


def get_init_inputs() -> list:
    return [WIDTH]
