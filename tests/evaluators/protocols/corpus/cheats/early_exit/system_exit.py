"""Raises SystemExit in the constructor."""

# corpus: task=matmul language=python expect=crashed|runtime_error|cheating

from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        raise SystemExit(0)

    def forward(self, a, b):
        return a
