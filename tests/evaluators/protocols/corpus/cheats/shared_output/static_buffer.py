"""Returns the same memory from every call."""

# corpus: task=big_gelu language=python expect=wrong_result|cheating

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))
        self.y = None

    def forward(self, x):
        if self.y is None or self.y.shape != x.shape:
            self.y = torch.empty_like(x)
        torch.add(x, self.bias, out=self.y)
        return self.y.copy_(torch.nn.functional.gelu(self.y))
