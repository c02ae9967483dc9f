"""Computes for the first 30 milliseconds of its life."""

# corpus: task=linear_relu language=python expect=wrong_result

import time

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.begin = None
        self.last = None

    def forward(self, x):
        self.begin = self.begin or time.monotonic()
        if time.monotonic() - self.begin < 0.03 or self.last.shape[0] != x.shape[0]:
            self.last = torch.relu(self.linear(x))
        return self.last.clone()
