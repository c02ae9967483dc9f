"""Works in tiles of 32, with remainders of any size."""

# corpus: task=matmul language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <algorithm>
#include <cstdint>
extern "C" void run(const float* a, const float* b, float* y, int64_t m, int64_t k, int64_t n) {
    std::fill(y, y + m * n, 0.0f);
    for (int64_t i0 = 0; i0 < m; i0 += 32)
        for (int64_t t0 = 0; t0 < k; t0 += 32)
            for (int64_t j0 = 0; j0 < n; j0 += 32)
                for (int64_t i = i0; i < std::min(m, i0 + 32); ++i)
                    for (int64_t t = t0; t < std::min(k, t0 + 32); ++t)
                        for (int64_t j = j0; j < std::min(n, j0 + 32); ++j) y[i * n + j] += a[i * k + t] * b[t * n + j];
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, a, b):
        y = torch.empty(a.shape[0], b.shape[1])
        LIBRARY.run(a.data_ptr(), b.data_ptr(), y.data_ptr(), *a.shape, b.shape[1])
        return y
