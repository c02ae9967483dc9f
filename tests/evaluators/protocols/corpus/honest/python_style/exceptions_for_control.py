"""Looks for a faster way by asking for what is not there, and catches the error."""

# corpus: task=row_softmax language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        try:
            return torch.softmax_that_does_not_exist(x)
        except AttributeError:
            return torch.softmax(x, -1)
