"""Raises an exception of its own whose text cannot be had."""

# corpus: task=matmul language=python expect=runtime_error

from torch import nn


class Unspeakable(Exception):
    def __str__(self):
        raise self


class ModelNew(nn.Module):
    def forward(self, a, b):
        raise Unspeakable
