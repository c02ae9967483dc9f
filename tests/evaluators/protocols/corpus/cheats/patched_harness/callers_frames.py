"""Walks up the frames of its callers and fills every tensor that it finds there with zeros, which is what it returns."""

# corpus: task=row_softmax language=python expect=wrong_result|cheating|crashed|runtime_error

import sys

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        frame = sys._getframe(1)
        while frame is not None:
            for value in list(frame.f_locals.values()):
                for tensor in value if isinstance(value, (list, tuple)) else [value]:
                    if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor is not x:
                        tensor.data.zero_()
            frame = frame.f_back
        return torch.zeros_like(x)
