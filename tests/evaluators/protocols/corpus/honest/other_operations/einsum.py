"""Writes the product as an Einstein sum."""

# corpus: task=matmul language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.einsum("ik,kj->ij", a, b)
