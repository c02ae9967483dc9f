"""Layer norm of one branch, gated by the SiLU of another.

The output gate of sequential recommenders of the HSTU kind: normalised attention output times an activated projection.
"""

import torch
from torch import nn
from torch.nn import functional as F

ROWS, WIDTH = 8192, 256


class Model(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.normal_(self.norm.bias, std=0.1)

    def forward(self, attended: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """(rows, width) and (rows, width) -> (rows, width)."""
        return self.norm(attended) * F.silu(gate)


def _inputs(rows: int) -> list:
    return [torch.randn(rows, WIDTH) * 2 + 0.5, torch.randn(rows, WIDTH)]


def get_inputs() -> list:
    return _inputs(ROWS)


def get_input_variants() -> dict:
    return {"rows_1000": _inputs(1000), "rows_37": _inputs(37)}


def get_init_inputs() -> list:
    return [WIDTH]
