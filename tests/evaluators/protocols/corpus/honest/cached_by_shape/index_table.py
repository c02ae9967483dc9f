"""Keeps a table of indices for each shape and gathers by it."""

# corpus: task=split_heads language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads
        self.tables = {}

    def forward(self, x):
        if x.shape not in self.tables:
            places = torch.arange(x.numel()).view(x.shape[0], x.shape[1], self.heads, -1)
            self.tables[x.shape] = places.transpose(1, 2).contiguous()
        return x.view(-1)[self.tables[x.shape]]
