"""Computes in inference mode, whose tensors know no autograd."""

# corpus: task=silu_gate language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    @torch.inference_mode()
    def forward(self, gate, x):
        return torch.nn.functional.silu(gate) * x
