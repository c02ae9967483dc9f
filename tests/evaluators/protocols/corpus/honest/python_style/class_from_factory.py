"""A factory makes the class."""

# corpus: task=big_gelu language=python expect=ok

import torch
from torch import nn


def _factory(approximate):
    class Gelu(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.bias = nn.Parameter(torch.randn(width))

        def forward(self, x):
            return torch.nn.functional.gelu(x + self.bias, approximate=approximate)

    return Gelu


ModelNew = _factory("none")
