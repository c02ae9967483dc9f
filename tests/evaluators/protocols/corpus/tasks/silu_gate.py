"""Pointwise: SiLU of one input times another."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, gate, x):
        return torch.nn.functional.silu(gate) * x


def get_inputs():
    return [torch.randn(128, 96), torch.randn(128, 96)]


def get_input_variants():
    return {"short": [torch.randn(3, 37), torch.randn(3, 37)]}
