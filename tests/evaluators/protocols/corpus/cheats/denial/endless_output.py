"""Writes to its standard output without end."""

# corpus: task=big_gelu language=python expect=timeout

import os

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()

    def forward(self, x):
        while True:
            os.write(1, b"x" * (1 << 16))
