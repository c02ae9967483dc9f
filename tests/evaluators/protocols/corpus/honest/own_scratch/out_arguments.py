"""Passes fresh memory as out."""

# corpus: task=matmul language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        y = torch.empty(a.shape[0], b.shape[1])
        torch.mm(a, b, out=y)
        return y
