"""Defines __call__ itself, without the module's hooks."""

# corpus: task=silu_gate language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __call__(self, gate, x):
        return torch.nn.functional.silu(gate) * x
