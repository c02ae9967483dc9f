"""The seam of writers: how a traced program becomes a kernel in one language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kernelevolve.core.kernel import Kernel, KnobValue
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.knobs import Knob
from kernelevolve.synthesis.traced.program import Program

Point = tuple[tuple[str, KnobValue], ...]
"""The values of knobs, as (name, value), sorted by name."""


@dataclass(frozen=True)
class Written:
    """The kernel at a point of a program's space."""

    kernel: Kernel
    """The kernel."""
    space: Mapping[str, Knob]
    """The knobs that can be changed at the point."""
    traits: Mapping[str, float]
    """The numbers that distinguish schedules, see `plan/traits.py`."""


class Writer(Protocol):
    """Writes kernels of one language for one target. It travels between processes."""

    @property
    def language(self) -> str:
        """The name of the language."""
        ...

    def check(self, program: Program) -> None:
        """Write a program with its default knobs and discard the result. Raises UnsupportedError if it cannot be written."""
        ...

    def write(self, program: Program, task: Task, point: Point) -> Written:
        """Write the kernel with these knobs and the default of every other one. Raises as `check` does."""
        ...
