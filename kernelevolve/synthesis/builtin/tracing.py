"""What a task gives the operator to start from: its traced program."""

from __future__ import annotations

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.cpp.writer import write
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.program import Program
from kernelevolve.synthesis.traced.trace import trace
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module


def trace_task(task: Task) -> Program:
    """The traced program of a task's reference.

    Raises `UserError` where the traced form lacks what it needs.
    """
    loaded = load_module(task)
    try:
        program = trace(build_model(loaded, task.seed), draw_inputs(loaded, task.seed))
        write(program, Choices())
    except UnsupportedError as reason:
        raise UserError(
            f"the built-in operator cannot draft {task.name}: the traced form lacks {reason}; simplify the reference"
        ) from reason
    return program
