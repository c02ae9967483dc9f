"""Calls the functional form with the buffers, and counts."""

# corpus: task=batch_norm language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        n = self.norm
        n.num_batches_tracked += 1
        return torch.nn.functional.batch_norm(
            x, n.running_mean, n.running_var, n.weight, n.bias, n.training, 0.1, n.eps
        )
