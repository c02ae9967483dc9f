"""Converts to float64 and multiplies there."""

# corpus: task=matmul language=python expect=cheating|wrong_result|invalid_source rule=none

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return (a.double() @ b.double()).float()
