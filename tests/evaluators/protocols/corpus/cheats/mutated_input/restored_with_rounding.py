"""Adds the bias to the input and takes it off again afterwards, which leaves rounding errors behind."""

# corpus: task=big_gelu language=python expect=wrong_result|cheating

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = torch.nn.functional.gelu(x.add_(self.bias))
        x.sub_(self.bias)
        return y
