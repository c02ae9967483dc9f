"""Turns gradients on: the result has a graph behind it."""

# corpus: task=linear_relu language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    @torch.enable_grad()
    def forward(self, x):
        return torch.relu(self.linear(x))
