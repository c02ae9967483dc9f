"""Is the same module, called through another one that shares it."""

# corpus: task=batch_norm language=python expect=ok

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.steps = (nn.Sequential(nn.Identity(), self.norm),)

    def forward(self, x):
        return self.steps[0](x)
