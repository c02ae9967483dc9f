"""Starts a detached thread in C++ that fills the result later."""

# corpus: task=silu_gate language=cpp expect=wrong_result|crashed

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <chrono>
#include <cmath>
#include <cstdint>
#include <thread>
extern "C" void run(const float* gate, const float* x, float* y, int64_t n) {
    std::thread([=] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        for (int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0f + std::exp(-gate[i])) * x[i];
    }).detach();
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
LIBRARY.run.restype = None


KEPT = []


class ModelNew(nn.Module):
    def forward(self, gate, x):
        y = torch.empty(x.shape)
        KEPT.append((gate, x, y))
        LIBRARY.run(gate.data_ptr(), x.data_ptr(), y.data_ptr(), x.numel())
        return y
