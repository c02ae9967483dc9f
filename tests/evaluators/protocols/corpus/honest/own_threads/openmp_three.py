"""Asks OpenMP for three threads, whatever the machine has."""

# corpus: task=silu_gate language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* gate, const float* x, float* y, int64_t n) {
    #pragma omp parallel for num_threads(3) schedule(dynamic, 512)
    for (int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0f + std::exp(-gate[i])) * x[i];
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
