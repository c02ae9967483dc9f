"""Kernels of known ratio: the same work of PyTorch's, a known number of times, on one thread or on all."""

from __future__ import annotations

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

ELEMENTS = {"one": 1 << 14, "all": 1 << 16}
"""Of the input, by the threads that PyTorch uses for it: it hands a thread no fewer than 32,768."""
REPETITIONS = 30
"""Of the reference,"""
RATIOS = {1.0: 30, 1.15: 26, 1.5: 20, 3.0: 10, 15.0: 2}
"""and of the kernel by about what it is faster."""
RANKED = tuple(range(10, 50))
"""Repetitions of the kernels that are to be ranked, each a few percent faster than the next."""


def _source(name: str, repetitions: int, elements: int) -> str:
    return f"""import torch
from torch import nn


class {name}(nn.Module):
    def forward(self, x):
        for _ in range({repetitions}):
            y = torch.exp(x)
        return y


def get_inputs():
    return [torch.rand({elements})]


def get_init_inputs():
    return []
"""


def task(threads: str) -> Task:
    """`threads`: a key of ELEMENTS."""
    return Task(name=f"known_{threads}", source=_source("Model", REPETITIONS, ELEMENTS[threads]))


def kernel(threads: str, repetitions: int, number: int = 0) -> Kernel:
    """`number`: makes it another kernel to whoever compares sources."""
    source = f"{_source('ModelNew', repetitions, ELEMENTS[threads])}\n# {number}\n"
    return Kernel(source=source, language="python")
