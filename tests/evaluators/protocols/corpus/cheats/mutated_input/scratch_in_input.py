"""Returns a fresh result, but uses an input as scratch."""

# corpus: task=silu_gate language=python expect=wrong_result|cheating

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        x.mul_(gate)
        return x * torch.sigmoid(gate)
