"""Returns one row expanded with stride zero to the right shape."""

# corpus: task=row_softmax language=python expect=wrong_result|wrong_shape

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.softmax(x[:1], dim=-1).expand(x.shape)
