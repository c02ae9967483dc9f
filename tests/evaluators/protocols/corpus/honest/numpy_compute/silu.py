"""Computes in NumPy, with its warnings of overflow off."""

# corpus: task=silu_gate language=python expect=ok

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        g = gate.numpy()
        with np.errstate(all="ignore"):
            return torch.from_numpy(g / (1 + np.exp(-g)) * x.numpy())
