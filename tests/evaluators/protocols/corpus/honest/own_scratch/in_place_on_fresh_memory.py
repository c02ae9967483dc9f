"""Works in place on memory of its own."""

# corpus: task=silu_gate language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        return torch.neg(gate).exp_().add_(1).reciprocal_().mul_(gate).mul_(x)
