"""Returns the middle of a fresh, larger block of memory."""

# corpus: task=big_gelu language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = torch.empty(x.shape[0] + 2, x.shape[1] + 16)[1:-1, 8:-8]
        return y.copy_(torch.nn.functional.gelu(x + self.bias))
