"""Clones its input and works on the clone."""

# corpus: task=big_gelu language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = x.clone()
        y += self.bias
        erf = torch.erf(y * 0.7071067811865476)
        return y.mul_(0.5).mul_(erf.add_(1))
