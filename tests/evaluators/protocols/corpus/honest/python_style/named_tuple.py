"""Returns a named tuple."""

# corpus: task=row_stats language=python expect=ok

from typing import NamedTuple

import torch
from torch import nn


class Statistics(NamedTuple):
    mean: torch.Tensor
    var: torch.Tensor
    place: torch.Tensor


class ModelNew(nn.Module):
    def forward(self, x):
        return Statistics(x.mean(dim=-1), x.var(dim=-1, correction=0), x.argmax(dim=-1))
