"""Puts functools.lru_cache on what follows from the width alone."""

# corpus: task=row_stats language=python expect=ok

import functools

import torch
from torch import nn


@functools.lru_cache(maxsize=32)
def _weights(width):
    return torch.full((width,), 1.0 / width, dtype=torch.float64)


class ModelNew(nn.Module):
    def forward(self, x):
        wide = x.double()
        mean = wide @ _weights(x.shape[-1])
        var = (wide - mean[:, None]).square() @ _weights(x.shape[-1])
        return mean.float(), var.float(), x.argmax(dim=-1)
