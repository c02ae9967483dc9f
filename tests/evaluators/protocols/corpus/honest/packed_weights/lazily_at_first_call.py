"""Packs weights and bias into one matrix at the first call."""

# corpus: task=linear_relu language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.packed = None

    def forward(self, x):
        if self.packed is None:
            self.packed = torch.cat([self.linear.weight, self.linear.bias[:, None]], dim=1).t().contiguous()
        ones = torch.ones(x.shape[0], 1)
        return torch.clamp(torch.cat([x, ones], dim=1) @ self.packed, min=0)
