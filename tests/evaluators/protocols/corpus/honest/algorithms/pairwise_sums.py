"""Sums each product by halves, recursively."""

# corpus: task=matmul language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
static float dot(const float* a, const float* b, int64_t k, int64_t n) {
    if (k <= 8) {
        float sum = 0;
        for (int64_t t = 0; t < k; ++t) sum += a[t] * b[t * n];
        return sum;
    }
    int64_t half = k / 2;
    return dot(a, b, half, n) + dot(a + half, b + half * n, k - half, n);
}
extern "C" void run(const float* a, const float* b, float* y, int64_t m, int64_t k, int64_t n) {
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) y[i * n + j] = dot(a + i * k, b + j, k, n);
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
