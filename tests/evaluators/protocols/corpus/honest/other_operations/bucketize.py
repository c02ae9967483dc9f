"""Uses bucketize and gather."""

# corpus: task=map_id language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        place = torch.bucketize(ids, self.table).clamp_(max=self.table.numel() - 1)
        return place.masked_fill(self.table.take(place) != ids, -1)
