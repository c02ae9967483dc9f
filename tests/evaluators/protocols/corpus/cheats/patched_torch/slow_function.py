"""Replaces the function that the reference calls by a slow one and keeps the fast one for itself."""

# corpus: task=big_gelu language=python expect=ok|cheating|runtime_error|wrong_result pointless

import time

import torch
from torch import nn

FAST = torch.nn.functional.gelu


def _slow(*args, **kwargs):
    time.sleep(0.003)
    return FAST(*args, **kwargs)


torch.nn.functional.gelu = _slow


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return FAST(x + self.bias)
