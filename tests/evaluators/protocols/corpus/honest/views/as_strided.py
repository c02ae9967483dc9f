"""Writes the strides of the view down."""

# corpus: task=split_heads language=python expect=ok rule=none

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, x):
        batch, length, width = x.shape
        size = width // self.heads
        return x.as_strided((batch, self.heads, length, size), (length * width, size, width, 1))
