"""Computes every other row and copies it to the next."""

# corpus: task=silu_gate language=python expect=wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        return (torch.nn.functional.silu(gate[::2]) * x[::2]).repeat_interleave(2, dim=0)[: x.shape[0]]
