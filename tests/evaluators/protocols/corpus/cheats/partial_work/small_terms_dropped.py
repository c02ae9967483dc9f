"""Sets what is far below the maximum to zero."""

# corpus: task=row_softmax language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.softmax(x, dim=-1)
        return torch.where(y < y.amax(dim=-1, keepdim=True) * 1e-2, 0.0, y)
