"""Kernels from the reference's own operations: a copy, which is always correct, and faster ways in which PyTorch can run it."""

from __future__ import annotations

import ast

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.model_class import model_new_source

_CONVOLUTIONS = ("Conv", "conv")

_CHANNELS_LAST = """\
def __init__(self, *arguments, **named):
    super().__init__(*arguments, **named)
    for parameter in self.parameters():
        if parameter.dim() in _LAYOUTS:
            parameter.data = parameter.data.contiguous(memory_format=_LAYOUTS[parameter.dim()])

def forward(self, *inputs):
    return _mapped(super().forward(*(_mapped(x, _channels_last) for x in inputs)), torch.Tensor.contiguous)
"""

_LAYOUT_HEAD = '''\
import torch

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def _channels_last(tensor):
    return tensor.contiguous(memory_format=_LAYOUTS[tensor.dim()]) if tensor.dim() in _LAYOUTS else tensor


def _mapped(value, function):
    """`value` with `function` applied to each of its tensors."""
    return torch.utils._pytree.tree_map_only(torch.Tensor, function, value)
'''


def reference_copy(task: Task) -> Kernel:
    """Return a copy of the reference."""
    return Kernel(source=model_new_source(task.source, ""), language="python")


def reference_variants(task: Task) -> dict[str, Kernel]:
    """Return further kernels from the reference's own operations, by one line that says what they do differently."""
    found: dict[str, Kernel] = {}
    if _convolves(task.source):
        source = model_new_source(task.source, _CHANNELS_LAST, prelude=_LAYOUT_HEAD)
        found["its convolutions with channels last in memory"] = Kernel(source=source, language="python")
    return found


def _convolves(source: str) -> bool:
    names = (
        n.attr if isinstance(n, ast.Attribute) else n.id if isinstance(n, ast.Name) else ""
        for n in ast.walk(ast.parse(source))
    )
    return any(part in name for name in names for part in _CONVOLUTIONS)
