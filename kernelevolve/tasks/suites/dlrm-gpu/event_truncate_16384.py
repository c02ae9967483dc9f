"""Batch event truncate: the last 32 events of each of 16384 users, jagged to dense.

Histories have 50 events on average, each of width 64. It holds 344 MB of inputs, parameters and results.
"""

import torch
from torch import nn

BATCH, KEEP, WIDTH = 16384, 32, 64


class Model(nn.Module):
    def __init__(self, keep: int) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, events: torch.Tensor, offsets: torch.Tensor) -> tuple:
        """(total, width), int64 (batch + 1,) ascending from 0 -> (batch, keep, width), int64 lengths (batch,)."""
        lengths = torch.diff(offsets).clamp(max=self.keep)
        position = torch.arange(self.keep, device=events.device)
        valid = position < lengths[:, None]
        index = torch.where(valid, (offsets[1:] - lengths)[:, None] + position, 0)
        return torch.where(valid[:, :, None], events[index], 0.0), lengths


def _inputs(batch: int, longest: int) -> list:
    lengths = torch.randint(0, longest + 1, (batch,))
    lengths[-1] = longest
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(lengths, dim=0)])
    return [torch.randn(int(offsets[-1]), WIDTH), offsets]


def get_inputs() -> list:
    return _inputs(BATCH, 100)


def get_input_variants() -> dict:
    return {"batch_1000": _inputs(1000, 40), "batch_37": _inputs(37, 300)}


def get_init_inputs() -> list:
    return [KEEP]
