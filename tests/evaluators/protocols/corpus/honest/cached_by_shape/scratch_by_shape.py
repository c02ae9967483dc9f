"""Keeps scratch memory for each shape, and returns fresh memory."""

# corpus: task=big_gelu language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))
        self.scratch = {}

    def forward(self, x):
        if x.shape not in self.scratch:
            self.scratch[x.shape] = torch.empty_like(x)
        moved = torch.add(x, self.bias, out=self.scratch[x.shape])
        return torch.nn.functional.gelu(moved)
