"""Has a C++ kernel for widths that are multiples of eight, and asks ATen for the rest."""

# corpus: task=row_softmax language=cpp expect=ok

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* x, float* y, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = x + r * width;
        float most = row[0], sum = 0;
        for (int64_t i = 1; i < width; ++i) most = row[i] > most ? row[i] : most;
        for (int64_t i = 0; i < width; ++i) sum += y[r * width + i] = std::exp(row[i] - most);
        for (int64_t i = 0; i < width; ++i) y[r * width + i] /= sum;
    }
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, x):
        if x.shape[-1] % 8:
            return torch.softmax(x, dim=-1)
        y = torch.empty(x.shape)
        LIBRARY.run(x.data_ptr(), y.data_ptr(), *x.shape)
        return y
