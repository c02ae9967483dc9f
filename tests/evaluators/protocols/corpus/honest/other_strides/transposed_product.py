"""Returns the transposed view of a product of transposed operands."""

# corpus: task=matmul language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return (b.t() @ a.t()).t()
