"""Computes in every other call of one shape."""

# corpus: task=matmul language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, a, b):
        if self.last is not None and self.last.shape == (a.shape[0], b.shape[1]):
            result, self.last = self.last, None
            return result
        self.last = torch.matmul(a, b)
        return self.last.clone()
