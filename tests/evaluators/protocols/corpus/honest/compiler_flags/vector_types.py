"""Uses the compiler's vector types, with a loop for the rest."""

# corpus: task=silu_gate language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
#include <cstring>
typedef float Eight __attribute__((vector_size(32)));
extern "C" void run(const float* gate, const float* x, float* y, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        Eight g, v, e;
        std::memcpy(&g, gate + i, 32);
        std::memcpy(&v, x + i, 32);
        for (int k = 0; k < 8; ++k) e[k] = std::exp(-g[k]);
        v = g / (1.0f + e) * v;
        std::memcpy(y + i, &v, 32);
    }
    for (; i < n; ++i) y[i] = gate[i] / (1.0f + std::exp(-gate[i])) * x[i];
}
"""
CPP_FLAGS = ["-O3", "-march=native"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, gate, x):
        y = torch.empty(x.shape)
        LIBRARY.run(gate.data_ptr(), x.data_ptr(), y.data_ptr(), x.numel())
        return y
