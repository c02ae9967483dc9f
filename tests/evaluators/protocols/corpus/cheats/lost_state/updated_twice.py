"""Updates the running statistics twice in each call."""

# corpus: task=batch_norm language=python expect=wrong_result|cheating

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x):
        self.norm(x)
        return self.norm(x)
