"""Low-rank feature crossing: x0 * (U (V x) + b) + x, two layers.

The cross network of DCN v2: explicit products of features of bounded degree, next to the deep tower.
"""

import torch
from torch import nn

BATCH, WIDTH, RANK, LAYERS = 2048, 320, 64, 2


class Model(nn.Module):
    def __init__(self, width: int, rank: int, layers: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, rank, bias=False) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(rank, width) for _ in range(layers))

    def forward(self, x0: torch.Tensor) -> torch.Tensor:
        """(batch, width) -> (batch, width)."""
        x = x0
        for down, up in zip(self.down, self.up, strict=True):
            x = x0 * up(down(x)) + x
        return x


def _inputs(batch: int) -> list:
    return [torch.randn(batch, WIDTH)]


def get_inputs() -> list:
    return _inputs(BATCH)


def get_input_variants() -> dict:
    return {"batch_1000": _inputs(1000), "batch_37": _inputs(37)}


def get_init_inputs() -> list:
    return [WIDTH, RANK, LAYERS]
