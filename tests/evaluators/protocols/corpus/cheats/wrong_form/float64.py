"""Returns float64 where the reference returns float32."""

# corpus: task=silu_gate language=python expect=wrong_shape|wrong_result

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, gate, x):
        return (torch.nn.functional.silu(gate) * x).double()
