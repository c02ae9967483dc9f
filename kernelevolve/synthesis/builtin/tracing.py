"""The traced program of a task, or the reason why there is none."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.builtin.kept import kept
from kernelevolve.synthesis.builtin.modes import watched_modes
from kernelevolve.synthesis.builtin.plan.traits import is_large
from kernelevolve.synthesis.builtin.writers import ANY
from kernelevolve.synthesis.traced.builder import SizeError, UnsupportedError
from kernelevolve.synthesis.traced.program import Program
from kernelevolve.synthesis.traced.trace import trace
from kernelevolve.tasks.eager import run_eagerly
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs, load_module

_UNROLLED = 1500
"""The number of operations above which a call is taken for an unrolled loop. The longest nets without loops have a third of it."""


@dataclass(frozen=True)
class Untraced:
    """The result for a reference that has no traced program."""

    why: str
    """One line that says why."""


class _Many(Exception):  # noqa: N818 - no error
    """A call has more operations than are counted."""


class _Counting(TorchDispatchMode):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        if self.count > _UNROLLED:
            raise _Many
        return function(*args, **(kwargs or {}))


def is_unrolled(loaded: LoadedTask) -> bool:
    """Return whether a call of the reference has so many operations that they must be the steps of a loop."""
    model, inputs = build_model(loaded, loaded.task.seed), draw_inputs(loaded, loaded.task.seed)
    # A library may do all steps of a recurrence in one operation, which torch.export takes apart.
    recurs = any(isinstance(module, nn.RNNBase) for module in model.modules())
    whole = torch.backends.mkldnn.flags(enabled=False) if recurs else nullcontext()
    try:
        with torch.no_grad(), whole, _Counting():
            model(*inputs)
    except _Many:
        return True
    except Exception:  # noqa: BLE001 - the reference's own code, which is blamed where it runs undisturbed
        return False
    return False


def kept_trace(task: Task) -> Program | Untraced:
    """Return the result of `trace_task`, which is computed once on a machine, since it may take a minute."""
    found: Program | Untraced = pickle.loads(kept(task, "traced", lambda: pickle.dumps(trace_task(task))))
    return found


def trace_task(task: Task) -> Program | Untraced:
    """Trace the reference of a task, and check that C++ can be written from the program unless it is large.

    The program holds only for the shapes of the task's inputs where the reference is an unrolled loop, since tracing with free sizes would
    take four times as long (a minute for a loop of some hundred steps), and where the traced form cannot express it with free sizes. Other
    shapes then take the reference's own operations. Tasks with variants, or with a rule about ATen, always have free sizes.

    Raises:
        UserError: The reference raises an error.
    """
    run_eagerly()
    loaded = load_module(task)
    fixable = not loaded.get_input_variants() and task.allow_aten is AllowAten.ALL
    fixed = fixable and is_unrolled(loaded)
    traced, by_size = _traced(loaded, fixed=fixed)
    if by_size and fixable and not fixed:
        again, _ = _traced(loaded, fixed=True)
        traced = again if isinstance(again, Program) else traced
    if isinstance(traced, Untraced):
        fresh = build_model(loaded, task.seed)
        with torch.no_grad(), loaded.blamed("forward"):
            fresh(*draw_inputs(loaded, task.seed))
    return traced


def _traced(loaded: LoadedTask, *, fixed: bool) -> tuple[Program | Untraced, bool]:
    """Return the program or why there is none, and whether free sizes may be the reason."""
    model, seed = build_model(loaded, loaded.task.seed), loaded.task.seed
    try:
        program = replace(trace(model, draw_inputs(loaded, seed), fixed=fixed), modes=watched_modes(model))
        if not is_large(program):
            ANY.check(program)
    except UnsupportedError as reason:
        return Untraced(f"the traced form lacks {reason}"), isinstance(reason, SizeError)
    except Exception as fault:  # noqa: BLE001 - a bug must not keep the user from a kernel; later stages need no program
        words = str(fault).strip().splitlines()
        return Untraced(f"the traced form fails: {type(fault).__name__}{f': {words[0][:200]}' if words else ''}"), True
    return program, False
