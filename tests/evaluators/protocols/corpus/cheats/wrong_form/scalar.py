"""Returns a tensor without dimensions."""

# corpus: task=faint_tanh language=python expect=wrong_shape|wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.tensor(0.0)
