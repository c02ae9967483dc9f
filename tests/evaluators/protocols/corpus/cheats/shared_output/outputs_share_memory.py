"""Returns the variance as a view of memory that the next call's mean overwrites."""

# corpus: task=row_stats language=python expect=wrong_result|wrong_shape|cheating

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = None

    def forward(self, x):
        if self.block is None or self.block.shape[1] != x.shape[0]:
            self.block = torch.empty(2, x.shape[0])
        torch.mean(x, dim=-1, out=self.block[0])
        self.block[1].copy_(x.var(dim=-1, correction=0))
        return self.block[0], self.block[1], x.argmax(dim=-1)
