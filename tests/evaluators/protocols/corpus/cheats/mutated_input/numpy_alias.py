"""Writes to the input through a NumPy array that shares its memory."""

# corpus: task=row_softmax language=python expect=wrong_result|cheating

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        rows = x.numpy()
        rows -= rows.max(axis=-1, keepdims=True)
        np.exp(rows, out=rows)
        return torch.from_numpy(rows / rows.sum(axis=-1, keepdims=True))
