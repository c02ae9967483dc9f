"""Softmax over the valid positions of each row.

Attention over a user's history: histories are padded to one length, and padding gets no weight. Every sample has at
least one valid position.
"""

import torch
from torch import nn

BATCH, HEADS, LENGTH = 64, 4, 100


class Model(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, heads, queries, keys), bool (batch, keys), true where valid -> the shape of the scores."""
        scores = (scores * self.scale).masked_fill(~mask[:, None, None, :], float("-inf"))
        return torch.softmax(scores, dim=-1)


def _inputs(batch: int, length: int) -> list:
    lengths = torch.randint(1, length + 1, (batch,))
    return [torch.randn(batch, HEADS, length, length) * 8, torch.arange(length) < lengths[:, None]]


def get_inputs() -> list:
    return _inputs(BATCH, LENGTH)


def get_input_variants() -> dict:
    return {"batch_37": _inputs(37, LENGTH), "length_61": _inputs(100, 61)}


def get_init_inputs() -> list:
    return [0.125]
