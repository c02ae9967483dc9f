"""Defines forward and backward as an autograd function."""

# corpus: task=faint_tanh language=python expect=ok

import torch
from torch import nn


class Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y * 1e-5

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (1 - y * y) * 1e-5


class ModelNew(nn.Module):
    def forward(self, x):
        return Tanh.apply(x)
