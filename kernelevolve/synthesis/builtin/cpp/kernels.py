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
    """A `Writer` for processors."""

    limits: CpuLimits

    @property
    def language(self) -> str:
        return "cpp"

    def check(self, program: Program) -> None:
        choices = Choices()
        write(plan_of(program, choices, libraries=True), choices, self.limits)

    def write(self, program: Program, task: Task, point: Point) -> Written:
        # In the island: with it comes libcst, most of a second that the driver's start need not wait for.
        from kernelevolve.synthesis.builtin.cpp.kernel_file import kernel_file

        choices = Choices(dict(point))
        plan = plan_of(program, choices, libraries=task.allow_aten is AllowAten.ALL)
        source = write(plan, choices, self.limits)
        return Written(kernel_file(task, source, choices), dict(choices.space), source.traits)
