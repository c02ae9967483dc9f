"""Takes GELU from the complementary error function."""

# corpus: task=big_gelu language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        v = x + self.bias
        return 0.5 * v * torch.erfc(v * -0.7071067811865476)
