"""Takes exp from a polynomial of degree seven and the exponent's bits, right to float32 rounding; vectorises without a library."""

# corpus: task=silu_gate language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <cstring>
static inline float fast_exp(float v) {
    float c = v < -87.0f ? -87.0f : v > 88.0f ? 88.0f : v;
    float n = __builtin_rintf(c * 1.44269504f);
    float r = c - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float e = p * r * r + r + 1.0f;
    int32_t bits;
    std::memcpy(&bits, &e, 4);
    bits += static_cast<int32_t>(n) << 23;
    std::memcpy(&e, &bits, 4);
    return v < -87.0f ? 0.0f : v > 88.0f ? __builtin_inff() : e;
}
extern "C" void run(const float* gate, const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        float e = gate[i] == gate[i] ? fast_exp(-gate[i]) : gate[i];
        y[i] = gate[i] / (1.0f + e) * x[i];
    }
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
