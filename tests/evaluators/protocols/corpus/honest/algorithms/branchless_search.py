"""Binary search without a branch on the data."""

# corpus: task=map_id language=cpp expect=ok rule=none

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
extern "C" void run(const int64_t* table, const int64_t* ids, int64_t* y, int64_t entries, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const int64_t* base = table;
        for (int64_t length = entries; length > 1; length -= length / 2) base += (base[length / 2 - 1] < ids[i]) * (length / 2);
        y[i] = *base == ids[i] ? base - table : -1;
    }
}
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)
LIBRARY.run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2
LIBRARY.run.restype = None


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        y = torch.empty(ids.shape, dtype=torch.int64)
        LIBRARY.run(self.table.data_ptr(), ids.data_ptr(), y.data_ptr(), self.table.numel(), ids.numel())
        return y
