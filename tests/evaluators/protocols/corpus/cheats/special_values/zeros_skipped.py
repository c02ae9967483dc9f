"""Skips terms whose left factor is zero, which loses zero times infinity and NaN."""

# corpus: task=matmul language=cpp expect=wrong_result

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
extern "C" void run(const float* a, const float* b, float* y, int64_t m, int64_t k, int64_t n) {
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) y[i * n + j] = 0;
        for (int64_t t = 0; t < k; ++t) {
            float left = a[i * k + t];
            if (left == 0 || left != left) continue;
            for (int64_t j = 0; j < n; ++j) y[i * n + j] += left * b[t * n + j];
        }
    }
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, a, b):
        y = torch.empty(a.shape[0], b.shape[1])
        LIBRARY.run(a.data_ptr(), b.data_ptr(), y.data_ptr(), *a.shape, b.shape[1])
        return y
