"""Recurses until the stack of the process ends."""

# corpus: task=map_id language=python expect=crashed|runtime_error

import sys

from torch import nn


def _down(depth):
    return list(map(_down, [depth + 1]))


class ModelNew(nn.Module):
    def forward(self, ids):
        sys.setrecursionlimit(1 << 30)
        return _down(0)
