"""Starts threads in C++ and joins them."""

# corpus: task=big_gelu language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>
static void rows_of(const float* x, const float* bias, float* y, int64_t begin, int64_t end, int64_t width) {
    for (int64_t r = begin; r < end; ++r)
        for (int64_t i = 0; i < width; ++i) {
            float v = x[r * width + i] + bias[i];
            y[r * width + i] = 0.5f * v * (1.0f + std::erf(v * 0.70710678f));
        }
}
extern "C" void run(const float* x, const float* bias, float* y, int64_t rows, int64_t width) {
    std::vector<std::thread> threads;
    for (int k = 0; k < 3; ++k)
        threads.emplace_back(rows_of, x, bias, y, rows * k / 3, rows * (k + 1) / 3, width);
    for (auto& thread : threads) thread.join();
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        y = torch.empty(x.shape)
        LIBRARY.run(x.data_ptr(), self.bias.data_ptr(), y.data_ptr(), *x.shape)
        return y
