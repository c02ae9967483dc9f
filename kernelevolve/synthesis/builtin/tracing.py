"""The traced program of a task, or why there is none."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import torch

from kernelevolve.core.task import Task
from kernelevolve.synthesis.builtin.cpp.writer import write
from kernelevolve.synthesis.builtin.kept import kept
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.modes import watched_modes
from kernelevolve.synthesis.builtin.target import Target
from kernelevolve.synthesis.traced.builder import UnsupportedError
from kernelevolve.synthesis.traced.program import Program
from kernelevolve.synthesis.traced.trace import trace
from kernelevolve.tasks.eager import run_eagerly
from kernelevolve.tasks.loading import build_model, draw_inputs, load_module


@dataclass(frozen=True)
class Untraced:
    """A reference has no traced program."""

    why: str
    """In a line for a person."""


def kept_trace(task: Task) -> Program | Untraced:
    """As `trace_task`; made once on a machine, for it may take a minute."""
    found: Program | Untraced = pickle.loads(kept(task, "traced", lambda: pickle.dumps(trace_task(task))))
    return found


def trace_task(task: Task) -> Program | Untraced:
    """The traced program of a task's reference, from which C++ can be written.

    Raises `UserError` where the reference raises.
    """
    run_eagerly()
    loaded = load_module(task)
    inputs = draw_inputs(loaded, task.seed)
    model = build_model(loaded, task.seed)
    try:
        program = replace(trace(model, inputs), modes=watched_modes(model))
        write(program, Choices(), Target.of({}))
    except UnsupportedError as reason:
        why = f"the traced form lacks {reason}"
    except Exception as fault:  # noqa: BLE001 - a fault of ours must not keep the user from a kernel: later stages need no program
        words = str(fault).strip().splitlines()
        why = f"the traced form fails: {type(fault).__name__}{f': {words[0][:200]}' if words else ''}"
    else:
        return program
    fresh = build_model(loaded, task.seed)
    with torch.no_grad(), loaded.blamed("forward"):
        fresh(*draw_inputs(loaded, task.seed))
    return Untraced(why)
