"""Packs again whenever address or version of the weights have changed."""

# corpus: task=linear_relu language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.state = None

    def forward(self, x):
        weight = self.linear.weight
        state = weight.data_ptr(), weight._version
        if state != self.state:
            self.packed, self.state = weight.detach().t().contiguous(), state
        return torch.relu(x @ self.packed + self.linear.bias)
