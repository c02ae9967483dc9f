"""Leaves C++ threads behind that take every core whenever forward does not run."""

# corpus: task=big_gelu language=cpp expect=ok|cheating|crashed|runtime_error|timeout pointless

import torch
from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <atomic>
#include <chrono>
#include <thread>
static std::atomic<bool> idle{false};
extern "C" void start() {
    for (unsigned i = 0; i < 2 * std::thread::hardware_concurrency(); ++i)
        std::thread([] {
            for (;;)
                if (!idle.load(std::memory_order_relaxed)) std::this_thread::sleep_for(std::chrono::microseconds(20));
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
