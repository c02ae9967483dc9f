"""Swish with a layer norm inside: x * sigmoid(layer_norm(x)).

The activation between the linear layers of large ranking towers.
"""

import torch
from torch import nn

ROWS, WIDTH = 5120, 384


class Model(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.normal_(self.norm.bias, std=0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, width) -> (rows, width)."""
        return x * torch.sigmoid(self.norm(x))


def _inputs(rows: int) -> list:
    return [torch.randn(rows, WIDTH) * 2]


def get_inputs() -> list:
    return _inputs(ROWS)


def get_input_variants() -> dict:
    return {"rows_1000": _inputs(1000), "rows_37": _inputs(37)}


def get_init_inputs() -> list:
    return [WIDTH]
