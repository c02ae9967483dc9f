"""Mean and variance in one pass, after Welford (1962); a NaN is the maximum, as PyTorch has it."""

# corpus: task=row_stats language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cmath>
#include <cstdint>
extern "C" void run(const float* x, float* mean, float* var, int64_t* place, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = x + r * width;
        double m = 0, square = 0, sum = 0;
        int64_t best = 0;
        for (int64_t i = 0; i < width; ++i) {
            double d = row[i] - m;
            sum += row[i];
            m += d / static_cast<double>(i + 1);
            square += d * (row[i] - m);
            bool found = row[best] != row[best];
            if (!found && (row[i] > row[best] || row[i] != row[i])) best = i;
        }
        mean[r] = static_cast<float>(std::isfinite(sum) ? m : sum);
        var[r] = static_cast<float>(square / static_cast<double>(width));
        place[r] = best;
    }
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 2
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def forward(self, x):
        rows = x.shape[0]
        mean, var, place = torch.empty(rows), torch.empty(rows), torch.empty(rows, dtype=torch.int64)
        LIBRARY.run(x.data_ptr(), mean.data_ptr(), var.data_ptr(), place.data_ptr(), *x.shape)
        return mean, var, place
