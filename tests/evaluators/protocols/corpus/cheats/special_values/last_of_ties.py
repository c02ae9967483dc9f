"""Returns the last of several maxima where the reference returns the first."""

# corpus: task=row_stats language=python expect=wrong_result

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        last = x.shape[-1] - 1 - x.flip(-1).argmax(dim=-1)
        return x.mean(dim=-1), x.var(dim=-1, correction=0), last
