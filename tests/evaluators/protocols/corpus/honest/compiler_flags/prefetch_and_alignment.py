"""Prefetches, copies to an aligned block on the stack, and computes there."""

# corpus: task=big_gelu language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <algorithm>
#include <cmath>
#include <cstdint>
extern "C" void run(const float* x, const float* bias, float* y, int64_t rows, int64_t width) {
    #pragma omp parallel for
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t begin = 0; begin < width; begin += 64) {
            alignas(64) float block[64];
            int64_t count = std::min<int64_t>(64, width - begin);
            const float* from = x + r * width + begin;
            __builtin_prefetch(from + 64);
            for (int64_t i = 0; i < count; ++i) block[i] = from[i] + bias[begin + i];
            for (int64_t i = 0; i < count; ++i) block[i] *= 0.5f * (1.0f + std::erf(block[i] * 0.70710678f));
            std::copy(block, block + count, y + r * width + begin);
        }
}
"""
CPP_FLAGS = ["-O3", "-march=native", "-funroll-loops"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = torch.empty(x.shape)
        LIBRARY.run(x.data_ptr(), self.bias.data_ptr(), y.data_ptr(), *x.shape)
        return y
