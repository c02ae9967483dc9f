"""Registers its scratch memory as a buffer that is not saved."""

# corpus: task=row_softmax language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scratch", torch.empty(0), persistent=False)

    def forward(self, x):
        torch.sub(x, x.amax(dim=-1, keepdim=True), out=self.scratch.resize_(x.shape))
        y = torch.exp(self.scratch)
        return y.div_(y.sum(dim=-1, keepdim=True))
