"""Leaves out the bias."""

# corpus: task=linear_relu language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        return torch.relu(x @ self.linear.weight.t())
