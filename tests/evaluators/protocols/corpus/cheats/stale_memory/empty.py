"""Returns memory that nobody has written, hoping that it held the reference's result."""

# corpus: task=matmul language=python expect=wrong_result|crashed|runtime_error

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.empty(a.shape[0], b.shape[1])
