"""Works in steps of sixteen elements and forgets the rest."""

# corpus: task=silu_gate language=cpp expect=wrong_result

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* gate, const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i + 16 <= n; i += 16)
        for (int64_t k = i; k < i + 16; ++k) y[k] = gate[k] / (1.0f + std::exp(-gate[k])) * x[k];
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, gate, x):
        y = torch.zeros(x.shape)
        LIBRARY.run(gate.data_ptr(), x.data_ptr(), y.data_ptr(), x.numel())
        return y
