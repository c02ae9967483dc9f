"""A linear layer with bias, then ReLU: constants can be derived from its weights."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        return torch.relu(self.linear(x))


def get_inputs():
    return [torch.randn(48, 96)]


def get_init_inputs():
    return [96, 64]


def get_input_variants():
    return {"short": [torch.randn(5, 96)]}
