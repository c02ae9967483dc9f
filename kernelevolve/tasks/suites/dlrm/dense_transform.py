"""Dense features: missing values filled, logarithm, standardised, clipped.

First step of the dense half: counters are heavy-tailed, negative values stand for missing ones.
"""

import torch
from torch import nn

ROWS, FEATURES = 8192, 128


class Model(nn.Module):
    def __init__(self, features: int, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("fill", torch.rand(features) * 10)
        self.register_buffer("mean", torch.rand(features) * 3)
        self.register_buffer("deviation", torch.rand(features) + 0.5)

    def forward(self, counters: torch.Tensor) -> torch.Tensor:
        """(rows, features) -> (rows, features) within plus and minus the limit."""
        filled = torch.where(counters < 0, self.fill, counters)
        return ((torch.log1p(filled) - self.mean) / self.deviation).clamp(-self.limit, self.limit)


def _inputs(rows: int) -> list:
    counters = torch.exp(torch.randn(rows, FEATURES) * 2)
    return [torch.where(torch.rand(rows, FEATURES) < 0.1, -1.0, counters)]


def get_inputs() -> list:
    return _inputs(ROWS)


def get_input_variants() -> dict:
    return {"rows_1000": _inputs(1000), "rows_37": _inputs(37)}


def get_init_inputs() -> list:
    return [FEATURES, 3.0]
