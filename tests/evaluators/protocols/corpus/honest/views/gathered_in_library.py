"""Copies the heads in C++."""

# corpus: task=split_heads language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <cstring>
extern "C" void run(const float* x, float* y, int64_t batch, int64_t length, int64_t heads, int64_t size) {
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t h = 0; h < heads; ++h)
            for (int64_t t = 0; t < length; ++t)
                std::memcpy(y + ((b * heads + h) * length + t) * size, x + ((b * length + t) * heads + h) * size,
                            size * sizeof(float));
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 4
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, x):
        batch, length, width = x.shape
        y = torch.empty(batch, self.heads, length, width // self.heads)
        LIBRARY.run(x.data_ptr(), y.data_ptr(), batch, length, self.heads, width // self.heads)
        return y
