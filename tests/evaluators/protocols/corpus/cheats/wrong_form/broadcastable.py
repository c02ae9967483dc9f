"""Returns one row, which broadcasts against the right shape."""

# corpus: task=faint_tanh language=python expect=wrong_shape|wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.tanh(x[:1]) * 1e-5
