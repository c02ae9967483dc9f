"""Reaches torch.matmul through getattr."""

# corpus: task=matmul language=python expect=cheating|wrong_result|invalid_source rule=none

import torch
from torch import nn

NAME = "".join(["mat", "mul"])


class ModelNew(nn.Module):
    def forward(self, a, b):
        return getattr(torch, NAME)(a, b)
