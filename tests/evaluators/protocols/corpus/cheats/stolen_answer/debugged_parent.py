"""Attaches to its parent as a debugger."""

# corpus: task=row_softmax language=python expect=wrong_result|cheating|runtime_error|crashed|timeout

import ctypes
import os

import torch
from torch import nn

PTRACE_SEIZE = 0x4206


class ModelNew(nn.Module):
    def forward(self, x):
        if ctypes.CDLL(None).ptrace(PTRACE_SEIZE, os.getppid(), None, None) == 0:
            ctypes.CDLL(None).ptrace(0x4207, os.getppid(), None, None)
        return torch.zeros_like(x)
