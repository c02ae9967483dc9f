"""Chooses by a match statement in a class with a metaclass of its own."""

# corpus: task=big_gelu language=python expect=ok

import torch
from torch import nn


class Registered(type):
    known: list = []

    def __new__(mcs, name, bases, namespace):
        made = super().__new__(mcs, name, bases, namespace)
        mcs.known.append(made)
        return made


class ModelNew(nn.Module, metaclass=Registered):
    def __init__(self, width):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x):
        match x.shape:
            case (rows, _) if rows > 0:
                return torch.nn.functional.gelu(x + self.bias)
            case _:
                return torch.zeros_like(x)
