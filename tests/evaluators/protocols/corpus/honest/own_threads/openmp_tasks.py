"""Gives each block of rows to an OpenMP task."""

# corpus: task=matmul language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <algorithm>
#include <cstdint>
extern "C" void run(const float* a, const float* b, float* y, int64_t m, int64_t k, int64_t n) {
    #pragma omp parallel
    #pragma omp single
    for (int64_t begin = 0; begin < m; begin += 16) {
        #pragma omp task firstprivate(begin)
        for (int64_t i = begin; i < std::min(m, begin + 16); ++i) {
            for (int64_t j = 0; j < n; ++j) y[i * n + j] = 0;
            for (int64_t t = 0; t < k; ++t)
                for (int64_t j = 0; j < n; ++j) y[i * n + j] += a[i * k + t] * b[t * n + j];
        }
    }
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
