"""Searches in NumPy."""

# corpus: task=map_id language=python expect=ok

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        table, wanted = self.table.numpy(), ids.numpy()
        place = np.minimum(np.searchsorted(table, wanted), table.size - 1)
        return torch.from_numpy(np.where(table[place] == wanted, place, -1))
