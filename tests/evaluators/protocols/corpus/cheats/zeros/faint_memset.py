"""Fills the result with zero bytes in C++."""

# corpus: task=faint_tanh language=cpp expect=wrong_result

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <cstring>
extern "C" void run(float* y, int64_t n) { std::memset(y, 0, n * sizeof(float)); }
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p, ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty(x.shape)
        LIBRARY.run(y.data_ptr(), y.numel())
        return y
