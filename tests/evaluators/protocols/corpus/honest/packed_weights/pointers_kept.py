"""Keeps the address of its bias and the bound function."""

# corpus: task=big_gelu language=cpp expect=ok

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* x, const float* bias, float* y, int64_t rows, int64_t width) {
    #pragma omp parallel for
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < width; ++i) {
            float v = x[r * width + i] + bias[i];
            y[r * width + i] = 0.5f * v * (1.0f + std::erf(v * 0.70710678f));
        }
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))
        self.place = self.bias.data_ptr()
        self.run = LIBRARY.run

    def forward(self, x):
        y = torch.empty(x.shape)
        self.run(x.data_ptr(), self.place, y.data_ptr(), *x.shape)
        return y
