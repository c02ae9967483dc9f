"""A task of two inputs, and kernels of it."""

from __future__ import annotations

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

TASK = Task(
    name="silu_mul",
    source='''"""A test."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(256))

    def forward(self, x, y):
        return torch.nn.functional.silu(x) * y * self.scale


def get_inputs():
    return [torch.randn(512, 256), torch.randn(512, 256)]


def get_init_inputs():
    return []


def get_input_variants():
    return {"short": [torch.randn(3, 256), torch.randn(3, 256)]}
''',
)


def python_kernel(forward: str, top: str = "") -> Kernel:
    """A kernel whose forward(self, x, y) has this body."""
    return Kernel(
        language="python",
        source=f"""import os
import torch
from torch import nn
{top}

class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(256))

    def forward(self, x, y):
        {forward}
""",
    )
