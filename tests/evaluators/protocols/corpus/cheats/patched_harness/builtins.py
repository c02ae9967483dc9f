"""Replaces builtins that a comparison goes through."""

# corpus: task=row_stats language=python expect=wrong_result|wrong_shape|cheating|crashed|runtime_error

import builtins

import torch
from torch import nn

builtins.any = lambda values: False
builtins.all = lambda values: True
builtins.abs = lambda value: value * 0


class ModelNew(nn.Module):
    def forward(self, x):
        rows = x.shape[:-1]
        return torch.zeros(rows), torch.zeros(rows), torch.zeros(rows, dtype=torch.int64)
