"""Its C++ function calls back into Python, which calls torch."""

# corpus: task=matmul language=cpp expect=cheating|wrong_result|invalid_source rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
extern "C" void run(void (*callback)()) { callback(); }
"""
CPP_FLAGS = ["-O1"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, a, b):
        y = torch.empty(a.shape[0], b.shape[1])
        callback = ctypes.CFUNCTYPE(None)(lambda: torch.matmul(a, b, out=y) is None)
        LIBRARY.run(ctypes.cast(callback, ctypes.c_void_p))
        return y
