"""Squares the standard deviation, and takes the index from max."""

# corpus: task=row_stats language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.mean(dim=-1), x.std(dim=-1, correction=0).square(), x.max(dim=-1).indices
