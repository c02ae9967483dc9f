"""Fills its results when the garbage collector runs."""

# corpus: task=big_gelu language=python expect=wrong_result

import gc

import torch
from torch import nn

OWED = []


def _fill(phase, info):
    while OWED:
        module, x, y = OWED.pop()
        with torch.no_grad():
            y.copy_(torch.nn.functional.gelu(x + module.bias))


gc.callbacks.append(_fill)


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = torch.empty_like(x)
        OWED.append((self, x, y))
        return y
