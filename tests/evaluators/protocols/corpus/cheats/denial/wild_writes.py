"""Writes far behind the end of its result."""

# corpus: task=faint_tanh language=cpp expect=crashed|wrong_result|runtime_error|timeout|cheating

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
extern "C" void run(float* y, int64_t n) {
    for (int64_t i = 0; i < n + (int64_t(1) << 30); ++i) y[i] = 0;
}
"""
CPP_FLAGS = ["-O1"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p, ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty(x.shape)
        LIBRARY.run(y.data_ptr(), y.numel())
        return y
