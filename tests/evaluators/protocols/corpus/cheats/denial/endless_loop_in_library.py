"""Never returns from C++, where no Python signal handler runs."""

# corpus: task=faint_tanh language=cpp expect=timeout

from kernel_loader import load_library
from torch import nn

CPP_SOURCE = r"""
extern "C" void run() {
    for (volatile long i = 0;; i = i + 1) {
    }
}
"""
CPP_FLAGS = ["-O1"]

LIBRARY = load_library(CPP_SOURCE, CPP_FLAGS)


class ModelNew(nn.Module):
    def forward(self, x):
        LIBRARY.run()
        return x
