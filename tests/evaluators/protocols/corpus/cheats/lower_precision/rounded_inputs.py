"""Rounds its input to bfloat16 and computes in float32 from there."""

# corpus: task=big_gelu language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return torch.nn.functional.gelu(x.bfloat16().float() + self.bias)
