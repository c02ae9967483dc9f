"""Multiplies in bfloat16."""

# corpus: task=matmul language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.matmul(a.bfloat16(), b.bfloat16()).float()
