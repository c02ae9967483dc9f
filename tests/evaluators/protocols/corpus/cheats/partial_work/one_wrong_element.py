"""Leaves one element in half a million at zero."""

# corpus: task=big_gelu language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = torch.nn.functional.gelu(x + self.bias)
        flat = y.view(-1)
        flat[flat.numel() * 5 // 7] = 0.0
        return y
