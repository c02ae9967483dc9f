"""Jagged values to a padded dense block, with its mask.

Between sparse feature storage and dense sequence layers: the first values of each sample, padded with a constant to one
length. Some samples are empty, some too long.
"""

import torch
from torch import nn

BATCH, LENGTH, WIDTH = 1024, 50, 48


class Model(nn.Module):
    def __init__(self, length: int, padding: float) -> None:
        super().__init__()
        self.length = length
        self.padding = padding

    def forward(self, values: torch.Tensor, offsets: torch.Tensor) -> tuple:
        """(total, width), int64 (batch + 1,) ascending from 0 -> (batch, length, width), bool (batch, length)."""
        index = offsets[:-1, None] + torch.arange(self.length, device=values.device)
        mask = index < offsets[1:, None]
        rows = values[index.clamp(max=values.shape[0] - 1)]
        return rows.masked_fill(~mask[:, :, None], self.padding), mask


def _inputs(batch: int, longest: int) -> list:
    lengths = torch.randint(0, longest + 1, (batch,))
    lengths[-1] = longest
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(lengths, dim=0)])
    return [torch.randn(int(offsets[-1]), WIDTH), offsets]


def get_inputs() -> list:
    return _inputs(BATCH, 60)


def get_input_variants() -> dict:
    return {"batch_500": _inputs(500, 20), "batch_37": _inputs(37, 120)}


def get_init_inputs() -> list:
    return [LENGTH, -1.0]
