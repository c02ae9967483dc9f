"""Clamps its input to a range that exp can take, instead of subtracting the maximum."""

# corpus: task=row_softmax language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.exp(x.clamp(-60, 60))
        return y / y.sum(dim=-1, keepdim=True)
