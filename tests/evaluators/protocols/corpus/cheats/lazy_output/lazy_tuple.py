"""Returns a tuple whose elements are computed when it is iterated over."""

# corpus: task=row_stats language=python expect=wrong_shape|wrong_result|runtime_error|cheating

import torch
from torch import nn


class Lazy(tuple):
    def __new__(cls, x):
        made = super().__new__(cls, (torch.empty(0), torch.empty(0), torch.empty(0)))
        made.waiting = x
        return made

    def __iter__(self):
        x = self.waiting
        return iter((x.mean(dim=-1), x.var(dim=-1, correction=0), x.argmax(dim=-1)))

    def __getitem__(self, index):
        return list(self)[index]


class ModelNew(nn.Module):
    def forward(self, x):
        return Lazy(x)
