"""Fills a table by a static constructor and counts its calls in a static variable."""

# corpus: task=faint_tanh language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
static int64_t calls = 0;
static struct Table {
    double scale[2];
    Table() : scale{1e-5, 1e-5} {}
} table;
extern "C" void run(const float* x, float* y, int64_t n) {
    ++calls;
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(std::tanh(static_cast<double>(x[i])) * table.scale[calls % 2]);
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty(x.shape)
        LIBRARY.run(x.data_ptr(), y.data_ptr(), x.numel())
        return y
