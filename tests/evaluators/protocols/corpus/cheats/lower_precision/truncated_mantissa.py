"""Drops the low 13 bits of both operands, as TF32 does."""

# corpus: task=matmul language=cpp expect=wrong_result

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <cstring>
static float cut(float v) {
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    bits &= 0xffffe000u;
    std::memcpy(&v, &bits, 4);
    return v;
}
extern "C" void run(const float* a, const float* b, float* y, int64_t m, int64_t k, int64_t n) {
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            float sum = 0;
            for (int64_t t = 0; t < k; ++t) sum += cut(a[i * k + t]) * cut(b[t * n + j]);
            y[i * n + j] = sum;
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
