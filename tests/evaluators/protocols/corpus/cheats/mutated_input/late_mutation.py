"""Leaves its inputs alone in the first three calls and computes in place later."""

# corpus: task=silu_gate language=python expect=wrong_result|cheating

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, gate, x):
        self.calls += 1
        if self.calls <= 3:
            return torch.nn.functional.silu(gate) * x
        return torch.nn.functional.silu(gate, inplace=True) * x
