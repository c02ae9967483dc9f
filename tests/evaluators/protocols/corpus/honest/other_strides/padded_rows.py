"""Pads the rows of its result to whole cache lines and returns the part that counts."""

# corpus: task=matmul language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
extern "C" void run(const float* a, const float* b, float* y, int64_t m, int64_t k, int64_t n, int64_t pitch) {
    for (int64_t i = 0; i < m; ++i) {
        float* row = y + i * pitch;
        for (int64_t j = 0; j < n; ++j) row[j] = 0;
        for (int64_t t = 0; t < k; ++t)
            for (int64_t j = 0; j < n; ++j) row[j] += a[i * k + t] * b[t * n + j];
    }
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 4
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, a, b):
        rows, columns = a.shape[0], b.shape[1]
        pitch = (columns + 15) // 16 * 16
        y = torch.empty(rows * pitch)
        LIBRARY.run(a.data_ptr(), b.data_ptr(), y.data_ptr(), rows, a.shape[1], columns, pitch)
        return y.as_strided((rows, columns), (pitch, 1))
