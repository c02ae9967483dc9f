"""Puts functools.lru_cache on forward: tensors hash by identity."""

# corpus: task=silu_gate language=python expect=wrong_result

import functools

import torch
from torch import nn


@functools.cache
def _compute(gate, x):
    return torch.nn.functional.silu(gate) * x


class ModelNew(nn.Module):
    def forward(self, gate, x):
        return _compute(gate, x)
