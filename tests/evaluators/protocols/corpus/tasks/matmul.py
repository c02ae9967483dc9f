"""Product of two matrices."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return torch.matmul(a, b)


def get_inputs():
    return [torch.randn(96, 80), torch.randn(80, 112)]


def get_input_variants():
    return {"odd": [torch.randn(130, 17), torch.randn(17, 9)]}
