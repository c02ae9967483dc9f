"""Attention pooling of a user's history by the candidate item.

Target attention of ranking models: the item scores each past event, padding is left out, and the history is summed with
the softmax of the scores. Every history has at least one event.
"""

import torch
from torch import nn

BATCH, LENGTH, DIM = 1024, 50, 64


class Model(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = dim**-0.5

    def forward(self, item: torch.Tensor, history: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(batch, dim), (batch, length, dim), int64 (batch,) from 1 to length -> (batch, dim)."""
        scores = torch.bmm(history, item[:, :, None]).squeeze(2) * self.scale
        valid = torch.arange(history.shape[1], device=history.device) < lengths[:, None]
        weights = torch.softmax(scores.masked_fill(~valid, float("-inf")), dim=1)
        return torch.bmm(weights[:, None, :], history).squeeze(1)


def _inputs(batch: int, length: int) -> list:
    return [torch.randn(batch, DIM), torch.randn(batch, length, DIM), torch.randint(1, length + 1, (batch,))]


def get_inputs() -> list:
    return _inputs(BATCH, LENGTH)


def get_input_variants() -> dict:
    return {"batch_1000": _inputs(1000, 20), "batch_37": _inputs(37, 201)}


def get_init_inputs() -> list:
    return [DIM]
