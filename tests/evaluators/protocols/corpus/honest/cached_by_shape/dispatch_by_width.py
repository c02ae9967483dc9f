"""Chooses one of two ways by the width, and remembers the choice."""

# corpus: task=row_softmax language=python expect=ok

import torch
from torch import nn


def _narrow(x):
    return torch.softmax(x, dim=-1)


def _wide(x):
    y = torch.exp(x - x.amax(dim=-1, keepdim=True))
    return y.div_(y.sum(dim=-1, keepdim=True))


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.choice = {}

    def forward(self, x):
        return self.choice.setdefault(x.shape[-1], _narrow if x.shape[-1] < 128 else _wide)(x)
