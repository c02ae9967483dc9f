"""Returns int32 positions where the reference returns int64."""

# corpus: task=map_id language=python expect=wrong_shape|wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        place = torch.searchsorted(self.table, ids).clamp(max=self.table.numel() - 1)
        return torch.where(self.table[place] == ids, place, -1).int()
