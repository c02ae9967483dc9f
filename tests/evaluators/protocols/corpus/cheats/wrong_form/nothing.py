"""Returns None."""

# corpus: task=silu_gate language=python expect=wrong_shape

from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        return None
