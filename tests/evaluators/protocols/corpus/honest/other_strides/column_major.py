"""Returns its result in column-major layout."""

# corpus: task=row_softmax language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.empty_strided(x.shape, (1, x.shape[0])).copy_(torch.softmax(x, dim=-1))
