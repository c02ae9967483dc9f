"""Sorts the ids, looks each different one up once and spreads the answers."""

# corpus: task=map_id language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        values, inverse = torch.unique(ids, return_inverse=True)
        place = torch.searchsorted(self.table, values).clamp(max=self.table.numel() - 1)
        return torch.where(self.table[place] == values, place, -1)[inverse]
