"""Kills its parent, and stops it where that fails."""

# corpus: task=split_heads language=python expect=crashed|runtime_error|wrong_result|wrong_shape|cheating

import os
import signal

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, heads):
        super().__init__()

    def forward(self, x):
        for number in (signal.SIGKILL, signal.SIGSTOP):
            try:
                os.kill(os.getppid(), number)
            except OSError:
                continue
        return torch.zeros_like(x)
