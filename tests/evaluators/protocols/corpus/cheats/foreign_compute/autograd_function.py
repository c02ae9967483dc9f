"""Wraps PyTorch's function in an autograd function that looks like a kernel."""

# corpus: task=big_gelu language=python expect=cheating|wrong_result|invalid_source rule=none

import torch
from torch import nn


class FusedKernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias):
        return torch.nn.functional.gelu(x + bias)


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return FusedKernel.apply(x, self.bias)
