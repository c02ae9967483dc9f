"""Makes every module but itself slow by replacing nn.Module.__call__."""

# corpus: task=big_gelu language=python expect=ok|cheating|runtime_error|wrong_result pointless

import time

import torch
from torch import nn

CALL = nn.Module.__call__


def _slow(self, *args, **kwargs):
    if type(self).__name__ != "ModelNew":
        time.sleep(0.003)
    return CALL(self, *args, **kwargs)


nn.Module.__call__ = _slow


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        return torch.nn.functional.gelu(x + self.bias)
