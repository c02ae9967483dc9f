"""Returns the transposed product."""

# corpus: task=matmul language=python expect=wrong_shape|wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.matmul(a, b).t()
