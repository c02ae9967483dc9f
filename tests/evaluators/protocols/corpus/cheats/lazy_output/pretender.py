"""Returns an object that passes for a tensor and computes when it is asked for anything."""

# corpus: task=silu_gate language=python expect=wrong_shape|wrong_result|runtime_error|cheating

import torch
from torch import nn


class Pretender:
    def __init__(self, compute):
        self._compute = compute

    @property
    def __class__(self):
        return torch.Tensor

    def __getattr__(self, name):
        return getattr(self._compute(), name)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func(*(a._compute() if type(a) is cls else a for a in args), **(kwargs or {}))


class ModelNew(nn.Module):
    def forward(self, gate, x):
        return Pretender(lambda: torch.nn.functional.silu(gate) * x)
