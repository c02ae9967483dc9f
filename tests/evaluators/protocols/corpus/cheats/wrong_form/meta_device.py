"""Returns a tensor without data."""

# corpus: task=big_gelu language=python expect=wrong_shape|wrong_result|runtime_error|crashed

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return torch.empty(x.shape, device="meta")
