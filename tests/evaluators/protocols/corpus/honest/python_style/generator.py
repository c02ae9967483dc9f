"""Yields its results one by one and returns them as a tuple."""

# corpus: task=row_stats language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return tuple(self._results(x))

    def _results(self, x):
        yield x.mean(dim=-1)
        yield x.var(dim=-1, correction=0)
        yield x.argmax(dim=-1)
