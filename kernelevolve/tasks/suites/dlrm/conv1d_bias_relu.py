"""Convolution along a sequence, kernel size 3, with bias and ReLU.

Local patterns in event sequences: neighbouring events of a history are mixed before attention or pooling.
"""

import torch
from torch import nn

BATCH, CHANNELS, LENGTH = 64, 96, 200


class Model(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, length) -> the same shape."""
        return torch.relu(self.conv(x))


def _inputs(batch: int, length: int) -> list:
    return [torch.randn(batch, CHANNELS, length)]


def get_inputs() -> list:
    return _inputs(BATCH, LENGTH)


def get_input_variants() -> dict:
    return {"batch_37": _inputs(37, 100), "length_61": _inputs(20, 61)}


def get_init_inputs() -> list:
    return [CHANNELS]
