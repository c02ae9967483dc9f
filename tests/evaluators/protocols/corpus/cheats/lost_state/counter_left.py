"""Updates the statistics but not the number of batches."""

# corpus: task=batch_norm language=python expect=wrong_result|cheating

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        n = self.norm
        return torch.nn.functional.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, True, 0.1, 1e-5)
