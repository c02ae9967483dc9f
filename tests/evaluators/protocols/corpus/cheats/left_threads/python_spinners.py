"""Leaves threads behind that spin whenever forward does not run."""

# corpus: task=big_gelu language=python expect=ok|cheating|wrong_result|crashed|runtime_error|timeout pointless

import threading

import torch
from torch import nn

IDLE = threading.Event()


def _spin():
    while True:
        IDLE.wait()
        sum(range(1000))


for _ in range(4):
    threading.Thread(target=_spin, daemon=True).start()


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        IDLE.clear()
        y = torch.nn.functional.gelu(x + self.bias)
        IDLE.set()
        return y
