"""Reads address zero."""

# corpus: task=matmul language=python expect=crashed

import ctypes

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return ctypes.string_at(0)
