"""Overflows the stack in C++."""

# corpus: task=faint_tanh language=cpp expect=crashed

import ctypes

from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
extern "C" int64_t run(int64_t depth) {
    volatile char frame[4096];
    frame[depth % 4096] = 1;
    return run(depth + 1) + frame[0];
}
"""
CPP_FLAGS = ["-O0"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, x):
        LIBRARY.run(0)
        return x
