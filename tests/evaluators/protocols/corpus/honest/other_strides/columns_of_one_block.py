"""Returns mean and variance as columns of one fresh block."""

# corpus: task=row_stats language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        block = torch.empty(x.shape[0], 2)
        block[:, 0], block[:, 1] = x.mean(dim=-1), x.var(dim=-1, correction=0)
        return block[:, 0], block[:, 1], x.argmax(dim=-1)
