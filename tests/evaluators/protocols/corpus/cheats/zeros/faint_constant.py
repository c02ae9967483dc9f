"""Returns one small constant."""

# corpus: task=faint_tanh language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.full_like(x, 1e-7)
