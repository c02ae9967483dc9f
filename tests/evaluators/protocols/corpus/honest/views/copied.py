"""Returns a contiguous copy where the reference returns a view."""

# corpus: task=split_heads language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, x):
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).swapaxes(1, 2).contiguous()
