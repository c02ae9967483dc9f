"""Makes the view in NumPy, on the input's memory."""

# corpus: task=split_heads language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, x):
        view = x.detach().numpy().reshape(x.shape[0], x.shape[1], self.heads, -1)
        return torch.from_numpy(view.transpose(0, 2, 1, 3))
