"""Turns the sorted table into a table of positions by id, once."""

# corpus: task=map_id language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)
        self.positions = torch.full((1000,), -1)
        self.positions[self.table] = torch.arange(256)

    def forward(self, ids):
        known = (ids >= 0) & (ids < 1000)
        return torch.where(known, self.positions[ids.clamp(0, 999)], -1)
