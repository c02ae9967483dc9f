"""Takes 8 GB through mmap, past every allocator."""

# corpus: task=faint_tanh language=cpp expect=out_of_memory|crashed|timeout

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstring>
#include <new>
#include <sys/mman.h>
extern "C" void run() {
    for (int i = 0; i < 128; ++i) {
        void* block = mmap(nullptr, 64 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED) throw std::bad_alloc();
        std::memset(block, 1, 64 << 20);
    }
}
"""
CPP_FLAGS = ["-O1"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)


class ModelNew(nn.Module):
    def forward(self, x):
        LIBRARY.run()
        return torch.zeros_like(x)
