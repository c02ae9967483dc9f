"""Returns a tensor subclass that computes when an operation first touches it."""

# corpus: task=row_softmax language=python expect=wrong_result|wrong_shape|runtime_error|cheating

import torch
from torch import nn


class Lazy(torch.Tensor):
    @staticmethod
    def __new__(cls, x):
        return torch.Tensor._make_wrapper_subclass(cls, x.shape, dtype=x.dtype, device=x.device)

    def __init__(self, x):
        self.waiting = x

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def real(value):
            if isinstance(value, cls):
                return torch.softmax(value.waiting, dim=-1)
            return type(value)(map(real, value)) if isinstance(value, (list, tuple)) else value

        return func(*map(real, args), **{k: real(v) for k, v in (kwargs or {}).items()})


class ModelNew(nn.Module):
    def forward(self, x):
        return Lazy(x)
