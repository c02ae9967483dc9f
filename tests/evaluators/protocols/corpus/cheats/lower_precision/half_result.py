"""Computes in float32 and stores through float16."""

# corpus: task=row_softmax language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.softmax(x, dim=-1).half().float()
