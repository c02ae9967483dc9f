"""Returns two of three results."""

# corpus: task=row_stats language=python expect=wrong_shape

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.mean(dim=-1), x.var(dim=-1, correction=0)
