"""Builds a hash table of the ids of the first model, and uses it for every other model of the process too."""

# corpus: task=map_id language=cpp expect=wrong_result

import ctypes

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdint>
#include <vector>
static std::vector<int64_t> keys, places;
static uint64_t slot(int64_t id) { return (static_cast<uint64_t>(id) * 0x9e3779b97f4a7c15u) >> 54; }
extern "C" void run(const int64_t* table, const int64_t* ids, int64_t* y, int64_t entries, int64_t n) {
    if (keys.empty()) {
        keys.resize(1024);
        places.assign(1024, -1);
        for (int64_t i = 0; i < entries; ++i) {
            uint64_t s = slot(table[i]);
            while (places[s] >= 0) s = (s + 1) % 1024;
            keys[s] = table[i];
            places[s] = i;
        }
    }
    for (int64_t i = 0; i < n; ++i) {
        uint64_t s = slot(ids[i]);
        while (places[s] >= 0 && keys[s] != ids[i]) s = (s + 1) % 1024;
        y[i] = places[s];
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
