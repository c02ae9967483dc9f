"""Fills its result when the input tensor is dropped."""

# corpus: task=silu_gate language=python expect=wrong_result

import weakref

import torch
from torch import nn


def _fill(gate, x, y):
    y.copy_(torch.nn.functional.silu(gate) * x)


class ModelNew(nn.Module):
    def forward(self, gate, x):
        y = torch.zeros_like(x)
        weakref.finalize(x, _fill, gate.detach(), x.detach(), y)
        return y
