"""Compares every id with every entry of the table."""

# corpus: task=map_id language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        value, place = (ids[..., None] == self.table).max(dim=-1)
        return torch.where(value, place, -1)
