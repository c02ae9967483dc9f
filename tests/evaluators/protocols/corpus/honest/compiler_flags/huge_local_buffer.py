"""Puts four megabytes on the stack."""

# corpus: task=row_softmax language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* x, float* y, int64_t rows, int64_t width) {
    float kept[1 << 20];
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = x + r * width;
        float most = row[0], sum = 0;
        for (int64_t i = 1; i < width; ++i) most = std::fmax(most, row[i]);
        for (int64_t i = 0; i < width; ++i) {
            float e = std::exp(row[i] - most);
            if (i < 1 << 20) kept[i] = e;
            sum += e;
        }
        for (int64_t i = 0; i < width; ++i) y[r * width + i] = (i < 1 << 20 ? kept[i] : std::exp(row[i] - most)) / sum;
    }
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty(x.shape)
        LIBRARY.run(x.data_ptr(), y.data_ptr(), *x.shape)
        return y
