"""Computes correctly, after a sleep that is longer than any limit."""

# corpus: task=big_gelu language=python expect=timeout

import time

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        time.sleep(30)
        return torch.nn.functional.gelu(x + self.bias)
