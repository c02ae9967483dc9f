"""What a task gives the operator to start from: its traced program, or a seed kernel."""

from __future__ import annotations

from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.aten_seed import aten_kernel
from kernelevolve.synthesis.builtin.cpp.writer import write
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.target import Target
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.program import Program
from kernelevolve.synthesis.traced.trace import trace
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module


def trace_task(task: Task) -> Program | tuple[Kernel, str]:
    """The traced program of a task's reference; where the traced form lacks something, a seed kernel and what it lacks.

    Raises `UserError` where there is no graph of the reference at all.
    """
    loaded = load_module(task)
    inputs = draw_inputs(loaded, task.seed)
    try:
        program = trace(build_model(loaded, task.seed), inputs)
        write(program, Choices(), Target.of({}))
    except UnsupportedError as reason:
        try:
            return aten_kernel(task, build_model(loaded, task.seed), inputs), str(reason)
        except UnsupportedError as deeper:
            raise UserError(
                f"the built-in operator cannot draft {task.name}: {deeper}; simplify the reference"
            ) from deeper
    return program
