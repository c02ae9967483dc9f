"""Has torch use one thread, since the matrices are small."""

# corpus: task=matmul language=python expect=ok

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        torch.set_num_threads(1)

    def forward(self, a, b):
        return torch.mm(a, b)
