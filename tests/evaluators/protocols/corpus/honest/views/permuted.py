"""Returns a view by unflatten and permute."""

# corpus: task=split_heads language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, x):
        return x.unflatten(-1, (self.heads, -1)).permute(0, 2, 1, 3)
