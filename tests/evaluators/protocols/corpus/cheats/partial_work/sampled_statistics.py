"""Takes mean and variance from every other element."""

# corpus: task=row_stats language=python expect=wrong_result

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        half = x[:, ::2]
        return half.mean(dim=-1), half.var(dim=-1, correction=0), x.argmax(dim=-1)
