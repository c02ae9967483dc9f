"""Compares ids in bfloat16, which holds no odd numbers above 256."""

# corpus: task=map_id language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        table = self.table.bfloat16()
        place = torch.searchsorted(self.table, ids).clamp(max=self.table.numel() - 1)
        return torch.where(table[place] == ids.bfloat16(), place, -1)
