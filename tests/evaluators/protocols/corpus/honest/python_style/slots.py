"""A helper object with __slots__ does the work."""

# corpus: task=silu_gate language=python expect=ok

import torch
from torch import nn


class Worker:
    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.worker = Worker(lambda gate, x: torch.nn.functional.silu(gate).mul_(x))

    def forward(self, gate, x):
        return self.worker(gate, x)
