"""Integers: the position of each id in a sorted table, -1 for those that are not there."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randperm(1000)[:256].sort().values)

    def forward(self, ids):
        place = torch.searchsorted(self.table, ids).clamp(max=self.table.numel() - 1)
        return torch.where(self.table[place] == ids, place, -1)


def get_inputs():
    return [torch.randint(0, 1000, (64, 50))]
