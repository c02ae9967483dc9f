"""Throws an exception that nothing catches."""

# corpus: task=faint_tanh language=cpp expect=crashed

from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <stdexcept>
extern "C" void run() { throw std::runtime_error("no"); }
"""
CPP_FLAGS = ["-O1"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)


class ModelNew(nn.Module):
    def forward(self, x):
        LIBRARY.run()
        return x
