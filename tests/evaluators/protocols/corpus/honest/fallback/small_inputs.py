"""Multiplies small matrices by a broadcast product and a sum."""

# corpus: task=matmul language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        if a.numel() * b.shape[1] < 1 << 15:
            return (a[:, :, None] * b[None]).sum(dim=1)
        return torch.mm(a, b)
