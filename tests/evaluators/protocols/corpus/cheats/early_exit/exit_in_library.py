"""Calls exit(0) in C++, which runs the handlers of the process first."""

# corpus: task=faint_tanh language=cpp expect=crashed|cheating|wrong_result

from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
#include <cstdlib>
extern "C" void run() { std::exit(0); }
"""
CPP_FLAGS = ["-O2"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)


class ModelNew(nn.Module):
    def forward(self, x):
        LIBRARY.run()
        return x
