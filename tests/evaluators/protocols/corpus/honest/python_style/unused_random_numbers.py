"""Draws random numbers that it does not use."""

# corpus: task=row_softmax language=python expect=ok

import random

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        random.random()
        torch.rand(3)
        return torch.softmax(x, dim=-1)
