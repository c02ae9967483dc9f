"""Splits the inner dimension in three and adds the products, last part first."""

# corpus: task=matmul language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        parts = [p @ q for p, q in zip(a.tensor_split(3, dim=1), b.tensor_split(3, dim=0), strict=True)]
        return parts[2] + parts[1] + parts[0]
