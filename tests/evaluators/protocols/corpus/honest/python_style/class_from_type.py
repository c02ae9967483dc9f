"""Builds the class by calling type."""

# corpus: task=row_softmax language=python expect=ok

from torch import nn


def _forward(self, x):
    return x.softmax(-1)


ModelNew = type("ModelNew", (nn.Module,), {"forward": _forward})
