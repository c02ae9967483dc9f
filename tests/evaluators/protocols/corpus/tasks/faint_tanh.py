"""Pointwise: results far below usual absolute tolerances."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.tanh(x) * 1e-5


def get_inputs():
    return [torch.randn(64, 128)]
