"""Multiplies in float16."""

# corpus: task=matmul language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.matmul(a.half(), b.half()).float()
