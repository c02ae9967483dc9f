"""Leaves every dispatch mode before it calls torch."""

# corpus: task=matmul language=python expect=cheating|wrong_result|invalid_source|runtime_error rule=none

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes


class ModelNew(nn.Module):
    def forward(self, a, b):
        with _disable_current_modes(), torch._C._DisableTorchDispatch():
            return torch.matmul(a, b)
