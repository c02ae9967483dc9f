"""Convolution along a sequence, kernel size 3, bias, float16: 32 x 256 x 256 x 1024.

Batch, channels of inputs and of results, length. It holds 34 MB of inputs, parameters and results.
"""

import torch
from torch import nn

BATCH, CHANNELS, LENGTH = 32, 256, 1024


class Model(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel_size=3, padding=1, dtype=torch.float16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, length) -> the same shape."""
        return self.conv(x)


def _inputs(batch: int) -> list:
    return [torch.randn(batch, CHANNELS, LENGTH, dtype=torch.float16)]


def get_inputs() -> list:
    return _inputs(BATCH)


def get_input_variants() -> dict:
    return {"batch_7": _inputs(7)}


def get_init_inputs() -> list:
    return [CHANNELS]
