"""Folds the statistics into scale and shift in evaluation, and does as PyTorch does in training."""

# corpus: task=batch_norm language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        norm = self.norm
        if self.training:
            return norm(x)
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return torch.addcmul(norm.bias - norm.running_mean * scale, x, scale)
