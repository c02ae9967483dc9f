"""Compensated sums in float32, after Kahan (1965)."""

# corpus: task=matmul language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* a, const float* b, float* y, int64_t m, int64_t k, int64_t n) {
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            float sum = 0, plain = 0, lost = 0;
            for (int64_t t = 0; t < k; ++t) {
                float product = a[i * k + t] * b[t * n + j];
                plain += product;
                float term = product - lost, next = sum + term;
                lost = (next - sum) - term;
                sum = next;
            }
            y[i * n + j] = std::isfinite(plain) ? sum : plain;
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
