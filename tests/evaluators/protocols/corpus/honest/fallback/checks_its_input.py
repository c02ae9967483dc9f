"""Checks types and layout before it trusts pointers."""

# corpus: task=silu_gate language=cpp expect=ok

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* gate, const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0f + std::exp(-gate[i])) * x[i];
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, gate, x):
        gate, x = torch.broadcast_tensors(gate, x)
        if gate.dtype != torch.float32 or x.dtype != torch.float32:
            return torch.nn.functional.silu(gate) * x
        gate, x = gate.contiguous(), x.contiguous()
        y = torch.empty_like(x)
        LIBRARY.run(gate.data_ptr(), x.data_ptr(), y.data_ptr(), x.numel())
        return y
