"""Takes exp from the bits of a float, after Schraudolph, with an error of some percent."""

# corpus: task=silu_gate language=cpp expect=wrong_result

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <cstring>
static float crude_exp(float v) {
    v = v < -80 ? -80 : v > 80 ? 80 : v;
    int32_t bits = static_cast<int32_t>(12102203.0f * v) + 1064866805;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
extern "C" void run(const float* gate, const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0f + crude_exp(-gate[i])) * x[i];
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, gate, x):
        y = torch.empty(x.shape)
        LIBRARY.run(gate.data_ptr(), x.data_ptr(), y.data_ptr(), x.numel())
        return y
