"""Three functions of the library, one after the other, on one fresh block."""

# corpus: task=row_softmax language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* x, float* y, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
        float most = x[r * width];
        for (int64_t i = 1; i < width; ++i) most = std::fmax(most, x[r * width + i]);
        for (int64_t i = 0; i < width; ++i) y[r * width + i] = x[r * width + i] - most;
    }
}
extern "C" void exponentials(float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = std::exp(y[i]);
}
extern "C" void scale(float* y, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
        float sum = 0;
        for (int64_t i = 0; i < width; ++i) sum += y[r * width + i];
        for (int64_t i = 0; i < width; ++i) y[r * width + i] /= sum;
    }
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2
LIBRARY.run.restype = None
LIBRARY.exponentials.argtypes = [ctypes.c_void_p, ctypes.c_int64]
LIBRARY.scale.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty(x.shape)
        LIBRARY.run(x.data_ptr(), y.data_ptr(), *x.shape)
        LIBRARY.exponentials(y.data_ptr(), y.numel())
        LIBRARY.scale(y.data_ptr(), *y.shape)
        return y
