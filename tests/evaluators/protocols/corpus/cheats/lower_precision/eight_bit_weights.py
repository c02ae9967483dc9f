"""Quantises the weights to eight bits."""

# corpus: task=linear_relu language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        scale = self.linear.weight.abs().max() / 127
        weight = (self.linear.weight / scale).round().to(torch.int8)
        return torch.relu(x @ (weight.float() * scale).t() + self.linear.bias)
