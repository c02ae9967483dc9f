"""Takes the exponential of the logarithm of softmax."""

# corpus: task=row_softmax language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.exp(torch.log_softmax(x, dim=-1))
