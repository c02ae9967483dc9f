"""What a task gives the operator to start from: its traced program, or a seed kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.cpp.writer import write
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.modes import watched_modes
from kernelevolve.synthesis.builtin.target import Target
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.program import Program
from kernelevolve.synthesis.traced.trace import trace
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module


@dataclass(frozen=True)
class Seed:
    """A first kernel for a reference that has no traced program."""

    kernel: Kernel
    note: str
    """Where it comes from, and why not from further up."""


def trace_task(task: Task) -> Program | Seed:
    """The traced program of a task's reference; where the traced form lacks something, a seed: TorchInductor's code, or where that
    cannot be had, the ATen graph.

    Raises `UserError` where the reference raises, and where there is no graph of it at all.
    """
    loaded = load_module(task)
    inputs = draw_inputs(loaded, task.seed)
    try:
        model = build_model(loaded, task.seed)
        program = replace(trace(model, inputs), modes=watched_modes(model))
        write(program, Choices(), Target.of({}))
    except UnsupportedError as reason:
        model = build_model(loaded, task.seed)
        with loaded.blamed("forward"):  # Told at once: looking for a seed takes many seconds.
            model(*draw_inputs(loaded, task.seed))
        return _seed(task, str(reason))
    return program


def _seed(task: Task, lacking: str) -> Seed:
    # Here, since few tasks need them: with them comes libcst, most of a second.
    from kernelevolve.synthesis.builtin.aten_seed import aten_kernel
    from kernelevolve.synthesis.builtin.inductor.isolated import inductor_seed

    lacks = f"the traced form lacks {lacking}"
    try:
        kernel, remark = inductor_seed(task)
        return Seed(kernel, "; ".join(filter(None, [f"TorchInductor's code: {lacks}", remark])))
    except UnsupportedError as reason:
        refused = f"TorchInductor gives no kernel: {reason}"
    try:
        loaded = load_module(task)
        kernel = aten_kernel(task, build_model(loaded, task.seed), draw_inputs(loaded, task.seed))
        return Seed(kernel, f"the ATen graph as it is: {lacks}; {refused}")
    except UnsupportedError as deepest:
        raise UserError(
            f"the built-in operator cannot draft {task.name}: {deepest}; simplify the reference"
        ) from deepest
