"""Leaves a thread behind that streams through 256 MB whenever forward does not run."""

# corpus: task=big_gelu language=cpp expect=ok|cheating|crashed|runtime_error|timeout|out_of_memory pointless

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>
static std::atomic<bool> idle{false};
extern "C" void start() {
    std::thread([] {
        std::vector<long> block(32 << 20, 1);
        for (;;) {
            for (size_t i = 0; i < block.size() && idle; i += 8) block[i] += 1;
            if (!idle) std::this_thread::sleep_for(std::chrono::microseconds(20));
        }
    }).detach();
}
extern "C" void enter() { idle = false; }
extern "C" void leave() { idle = true; }
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))
        LIBRARY.start()

    def forward(self, x):
        LIBRARY.enter()
        y = torch.nn.functional.gelu(x + self.bias)
        LIBRARY.leave()
        return y
