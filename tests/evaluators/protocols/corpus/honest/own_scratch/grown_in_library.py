"""Transposes the right operand into static memory that only grows."""

# corpus: task=matmul language=cpp expect=ok

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <vector>
static std::vector<float> turned;
extern "C" void run(const float* a, const float* b, float* y, int64_t m, int64_t k, int64_t n) {
    if (static_cast<int64_t>(turned.size()) < k * n) turned.resize(k * n);
    for (int64_t t = 0; t < k; ++t)
        for (int64_t j = 0; j < n; ++j) turned[j * k + t] = b[t * n + j];
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            float sum = 0;
            for (int64_t t = 0; t < k; ++t) sum += a[i * k + t] * turned[j * k + t];
            y[i * n + j] = sum;
        }
}
"""
CPP_FLAGS = ["-O3", "-march=native", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, a, b):
        y = torch.empty(a.shape[0], b.shape[1])
        LIBRARY.run(a.data_ptr(), b.data_ptr(), y.data_ptr(), *a.shape, b.shape[1])
        return y
