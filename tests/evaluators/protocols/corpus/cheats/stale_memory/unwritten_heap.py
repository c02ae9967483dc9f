"""Copies a freed block of the heap into the result."""

# corpus: task=silu_gate language=cpp expect=wrong_result|crashed

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <cstdlib>
#include <cstring>
extern "C" void run(float* y, int64_t n) {
    void* block = std::malloc(n * sizeof(float));
    std::memcpy(y, block, n * sizeof(float));
    std::free(block);
}
"""
CPP_FLAGS = ["-O0"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p, ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, gate, x):
        y = torch.empty(x.shape)
        LIBRARY.run(y.data_ptr(), y.numel())
        return y
