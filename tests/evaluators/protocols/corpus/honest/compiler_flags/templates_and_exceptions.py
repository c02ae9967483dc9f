"""Goes through templates, lambdas, containers and an exception that it catches itself."""

# corpus: task=row_stats language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>
template <typename F> static double folded(const std::vector<double>& values, F f) {
    return std::accumulate(values.begin(), values.end(), 0.0, [&](double sum, double v) { return sum + f(v); });
}
static int64_t nan_place(const std::vector<double>& values) {
    for (size_t i = 0; i < values.size(); ++i)
        if (values[i] != values[i]) return static_cast<int64_t>(i);
    throw std::out_of_range("no NaN");
}
extern "C" void run(const float* x, float* mean, float* var, int64_t* place, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; ++r) {
        std::vector<double> values(x + r * width, x + (r + 1) * width);
        double m = folded(values, [](double v) { return v; }) / static_cast<double>(width);
        mean[r] = static_cast<float>(m);
        var[r] = static_cast<float>(folded(values, [m](double v) { return (v - m) * (v - m); }) / static_cast<double>(width));
        try {
            place[r] = nan_place(values);
        } catch (const std::out_of_range&) {
            place[r] = 0;
            for (int64_t i = 1; i < width; ++i)
                if (values[i] > values[place[r]]) place[r] = i;
        }
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
