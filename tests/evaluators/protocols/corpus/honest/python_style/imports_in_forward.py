"""Imports what it needs in forward, and collects garbage."""

# corpus: task=map_id language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        import gc

        from torch import searchsorted as search

        gc.collect(0)
        place = search(self.table, ids).clamp(max=self.table.numel() - 1)
        return torch.where(self.table[place] == ids, place, -1)
