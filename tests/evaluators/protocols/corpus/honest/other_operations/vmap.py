"""Maps a function of one row over all of them."""

# corpus: task=linear_relu language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        weight, bias = self.linear.weight, self.linear.bias
        return torch.vmap(lambda row: torch.relu(weight @ row + bias))(x)
