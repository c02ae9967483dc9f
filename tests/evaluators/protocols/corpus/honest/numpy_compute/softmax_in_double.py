"""Computes in NumPy's float64."""

# corpus: task=row_softmax language=python expect=ok

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        with np.errstate(all="ignore"):
            rows = x.numpy().astype(np.float64)
            rows = np.exp(rows - rows.max(axis=-1, keepdims=True))
            return torch.from_numpy((rows / rows.sum(axis=-1, keepdims=True)).astype(np.float32))
