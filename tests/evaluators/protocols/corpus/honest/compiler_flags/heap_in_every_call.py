"""Takes and gives back memory of the heap in every call, with new and with malloc."""

# corpus: task=linear_relu language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <cstdlib>
#include <memory>
extern "C" void run(const float* x, const float* w, const float* bias, float* y, int64_t m, int64_t k, int64_t n) {
    std::unique_ptr<double[]> sums(new double[n]);
    auto* row = static_cast<double*>(std::malloc(k * sizeof(double)));
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t t = 0; t < k; ++t) row[t] = x[i * k + t];
        for (int64_t j = 0; j < n; ++j) sums[j] = bias[j];
        for (int64_t j = 0; j < n; ++j)
            for (int64_t t = 0; t < k; ++t) sums[j] += row[t] * w[j * k + t];
        for (int64_t j = 0; j < n; ++j) y[i * n + j] = sums[j] < 0 ? 0.0f : static_cast<float>(sums[j]);
    }
    std::free(row);
}
"""
CPP_FLAGS = ["-O2"]

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
