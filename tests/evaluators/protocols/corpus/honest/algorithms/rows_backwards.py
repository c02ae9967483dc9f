"""Computes the rows one by one, the last one first."""

# corpus: task=row_softmax language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty_like(x)
        for row in reversed(range(x.shape[0])):
            torch.softmax(x[row], dim=-1, out=y[row])
        return y
