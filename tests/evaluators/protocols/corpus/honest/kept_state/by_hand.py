"""Computes the statistics itself, in float64, and updates the buffers as PyTorch does."""

# corpus: task=batch_norm language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        norm = self.norm
        if not self.training:
            return norm(x)
        var, mean = (t.float() for t in torch.var_mean(x.double(), dim=0, correction=0))
        norm.running_mean.mul_(0.9).add_(mean, alpha=0.1)
        norm.running_var.mul_(0.9).add_(var, alpha=0.1 * x.shape[0] / (x.shape[0] - 1))
        norm.num_batches_tracked.add_(1)
        return (x - mean) * torch.rsqrt(var + norm.eps) * norm.weight + norm.bias
