"""Fills the result of each call during the next one."""

# corpus: task=row_softmax language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.owed = None

    def forward(self, x):
        if self.owed is not None:
            before, result = self.owed
            result.copy_(torch.softmax(before, dim=-1))
        self.owed = x, torch.empty_like(x)
        return self.owed[1]
