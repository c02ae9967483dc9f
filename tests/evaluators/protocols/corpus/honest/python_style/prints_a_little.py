"""Prints a line when it is built and one in its first call."""

# corpus: task=silu_gate language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.greeted = False
        print("building")

    def forward(self, gate, x):
        if not self.greeted:
            print("first call with", tuple(x.shape))
            self.greeted = True
        return torch.nn.functional.silu(gate) * x
