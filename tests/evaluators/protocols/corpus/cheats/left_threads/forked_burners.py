"""Forks processes that burn processor time for some seconds."""

# corpus: task=big_gelu language=python expect=ok|cheating|crashed|runtime_error|timeout pointless

import os
import time

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))
        for _ in range(3):
            try:
                child = os.fork()
            except OSError:
                break
            if child == 0:
                end = time.monotonic() + 4
                while time.monotonic() < end:
                    pass
                os._exit(0)

    def forward(self, x):
        return torch.nn.functional.gelu(x + self.bias)
