"""Goes through a context manager and two of torch's."""

# corpus: task=matmul language=python expect=ok

import contextlib

import torch
from torch import nn


@contextlib.contextmanager
def _careful():
    with torch.no_grad(), torch.autograd.grad_mode.set_grad_enabled(False):
        yield


class ModelNew(nn.Module):
    def forward(self, a, b):
        with _careful():
            return a @ b
