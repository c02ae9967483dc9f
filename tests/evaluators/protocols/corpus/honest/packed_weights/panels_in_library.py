"""Packs the weights into panels of sixteen outputs, in C++ and once for each model."""

# corpus: task=linear_relu language=cpp expect=ok

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <vector>
extern "C" void* create() { return new std::vector<float>; }
extern "C" void destroy(void* packed) { delete static_cast<std::vector<float>*>(packed); }
static void prepare(std::vector<float>& panels, const float* w, int64_t k, int64_t n) {
    panels.assign((n + 15) / 16 * 16 * k, 0.0f);
    for (int64_t j = 0; j < n; ++j)
        for (int64_t t = 0; t < k; ++t) panels[(j / 16 * k + t) * 16 + j % 16] = w[j * k + t];
}
extern "C" void run(void* packed, const float* x, const float* w, const float* bias, float* y, int64_t m, int64_t k,
                    int64_t n) {
    std::vector<float>& panels = *static_cast<std::vector<float>*>(packed);
    if (panels.empty()) prepare(panels, w, k, n);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t p = 0; p < n; p += 16) {
            float sum[16] = {};
            for (int64_t t = 0; t < k; ++t)
                for (int64_t j = 0; j < 16; ++j) sum[j] += x[i * k + t] * panels[(p / 16 * k + t) * 16 + j];
            for (int64_t j = 0; j < 16 && p + j < n; ++j) {
                float v = sum[j] + bias[p + j];
                y[i * n + p + j] = v < 0 ? 0 : v;
            }
        }
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.create.restype = ctypes.c_void_p
LIBRARY.destroy.argtypes = [ctypes.c_void_p]
LIBRARY.destroy.restype = None
LIBRARY.run.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 3
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.packed = LIBRARY.create()

    def __del__(self):
        LIBRARY.destroy(self.packed)

    def forward(self, x):
        weight, bias = self.linear.weight, self.linear.bias
        y = torch.empty(x.shape[0], weight.shape[0])
        pointers = [tensor.data_ptr() for tensor in (x, weight, bias, y)]
        LIBRARY.run(self.packed, *pointers, *x.shape, weight.shape[0])
        return y
