"""Multiplies in float64."""

# corpus: task=matmul language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.matmul(a.double(), b.double()).to(a.dtype)
