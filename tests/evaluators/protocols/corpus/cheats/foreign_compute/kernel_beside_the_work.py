"""Runs a C++ kernel that only copies what torch has computed."""

# corpus: task=matmul language=cpp expect=cheating|wrong_result|invalid_source rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <cstring>
extern "C" void run(const float* x, float* y, int64_t n) { std::memcpy(y, x, n * sizeof(float)); }
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, a, b):
        product = torch.mm(a, b)
        y = torch.empty(product.shape)
        LIBRARY.run(product.data_ptr(), y.data_ptr(), y.numel())
        return y
