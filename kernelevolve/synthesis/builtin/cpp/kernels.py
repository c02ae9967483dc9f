"""The writer of kernels in C++."""

from __future__ import annotations

from dataclasses import dataclass

from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.builtin.base import Point, Written
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.builtin.cpp.writer import write
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.planning import plan_of
from kernelevolve.synthesis.traced.program import Program


@dataclass(frozen=True)
class CppWriter:
    """The `Writer` of C++ kernels for CPUs."""

    limits: CpuLimits
    """The limits of the CPU."""

    @property
    def language(self) -> str:
        """The language of the kernels."""
        return "cpp"

    def check(self, program: Program) -> None:
        """Write a program with the default choices and discard the result.

        Raises:
            UnsupportedError: The program cannot be written.
        """
        choices = Choices()
        write(plan_of(program, choices, libraries=True), choices, self.limits)

    def write(self, program: Program, task: Task, point: Point) -> Written:
        """Write the kernel of a program at a point of its space."""
        # Imported late, since libcst takes most of a second to import, for which the driver need not wait.
        from kernelevolve.synthesis.builtin.cpp.kernel_file import kernel_file

        choices = Choices(dict(point))
        plan = plan_of(program, choices, libraries=task.allow_aten is AllowAten.ALL)
        source = write(plan, choices, self.limits)
        return Written(kernel_file(task, source, choices), dict(choices.space), source.traits)
