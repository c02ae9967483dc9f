"""Keeps the reduced dimension."""

# corpus: task=row_stats language=python expect=wrong_shape

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True), x.argmax(-1, keepdim=True)
