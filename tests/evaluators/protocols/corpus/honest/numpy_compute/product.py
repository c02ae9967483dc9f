"""Multiplies in NumPy."""

# corpus: task=matmul language=python expect=ok

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
