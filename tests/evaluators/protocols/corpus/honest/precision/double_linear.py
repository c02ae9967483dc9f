"""Sums in double; the result is rounded once."""

# corpus: task=linear_relu language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
extern "C" void run(const float* x, const float* w, const float* bias, float* y, int64_t m, int64_t k, int64_t n) {
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            double sum = bias[j];
            for (int64_t t = 0; t < k; ++t) sum += static_cast<double>(x[i * k + t]) * w[j * k + t];
            y[i * n + j] = sum < 0 ? 0.0f : static_cast<float>(sum);
        }
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 3
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        weight, bias = self.linear.weight, self.linear.bias
        y = torch.empty(x.shape[0], weight.shape[0])
        LIBRARY.run(x.data_ptr(), weight.data_ptr(), bias.data_ptr(), y.data_ptr(), *x.shape, weight.shape[0])
        return y
