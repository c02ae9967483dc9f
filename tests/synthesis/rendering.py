"""Kernels at points of a program's space."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.base import Point, Written
from kernelevolve.synthesis.builtin.cpp.kernels import CppWriter
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.builtin.cpp.writer import write
from kernelevolve.synthesis.builtin.knobs import Choices, Knob
from kernelevolve.synthesis.builtin.plan.planning import plan_of
from kernelevolve.synthesis.traced.program import Program


def written(program: Program, limits: CpuLimits, task: Task, point: Point) -> Written:
    """The kernel at a point, in C++ for a processor of these limits."""
    return CppWriter(limits).write(program, task, point)


def render(program: Program, limits: CpuLimits, task: Task, point: Point) -> tuple[Kernel, Mapping[str, Knob]]:
    """The kernel at a point, and the space around it."""
    made = written(program, limits, task, point)
    return made.kernel, made.space


def text_of(program: Program, limits: CpuLimits) -> str:
    """The C++ of the default schedule."""
    choices = Choices()
    return write(plan_of(program, choices, libraries=True), choices, limits).text
