"""Takes SiLU apart."""

# corpus: task=silu_gate language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        return (gate * torch.sigmoid(gate)) * x
