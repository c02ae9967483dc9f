"""Gets mean and variance from one operation, and the index from max."""

# corpus: task=row_stats language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        var, mean = torch.var_mean(x, dim=-1, correction=0)
        return mean, var, x.max(dim=-1).indices
