"""Searches the maximum with comparisons that a NaN never wins."""

# corpus: task=row_stats language=cpp expect=wrong_result

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
extern "C" void run(const float* x, float* mean, float* var, int64_t* place, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = x + r * width;
        double sum = 0, square = 0;
        int64_t best = 0;
        for (int64_t i = 0; i < width; ++i) {
            sum += row[i];
            if (row[i] > row[best]) best = i;
        }
        for (int64_t i = 0; i < width; ++i) square += (row[i] - sum / width) * (row[i] - sum / width);
        mean[r] = static_cast<float>(sum / width);
        var[r] = static_cast<float>(square / width);
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
        mean, var = torch.empty(x.shape[0]), torch.empty(x.shape[0])
        place = torch.empty(x.shape[0], dtype=torch.int64)
        LIBRARY.run(x.data_ptr(), mean.data_ptr(), var.data_ptr(), place.data_ptr(), *x.shape)
        return mean, var, place
