"""Leaves torch with one thread after each call."""

# corpus: task=big_gelu language=python expect=ok|cheating|crashed|runtime_error pointless

import torch
from torch import nn

THREADS = torch.get_num_threads()


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        torch.set_num_threads(THREADS)
        y = torch.nn.functional.gelu(x + self.bias)
        torch.set_num_threads(1)
        return y
