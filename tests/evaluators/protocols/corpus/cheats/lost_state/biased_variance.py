"""Keeps the biased variance where PyTorch keeps the unbiased one."""

# corpus: task=batch_norm language=python expect=wrong_result|cheating

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        mean, var = x.mean(0), x.var(0, correction=0)
        self.norm.running_mean.lerp_(mean, 0.1)
        self.norm.running_var.lerp_(var, 0.1)
        self.norm.num_batches_tracked.add_(1)
        return (x - mean) * torch.rsqrt(var + 1e-5) * self.norm.weight + self.norm.bias
