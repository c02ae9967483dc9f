"""Leaves out the last eight rows."""

# corpus: task=big_gelu language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = torch.zeros_like(x)
        y[:-8] = torch.nn.functional.gelu(x[:-8] + self.bias)
        return y
