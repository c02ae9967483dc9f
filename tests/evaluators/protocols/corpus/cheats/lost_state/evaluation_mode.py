"""Normalises with the running statistics, as in evaluation."""

# corpus: task=batch_norm language=python expect=wrong_result

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.norm = nn.BatchNorm1d(features).eval()

    def forward(self, x):
        return self.norm(x)
