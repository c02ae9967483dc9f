"""Has tensors compute through Python's operators."""

# corpus: task=silu_gate language=python expect=cheating|wrong_result|invalid_source rule=none

from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        return gate / (1 + (-gate).exp()) * x
