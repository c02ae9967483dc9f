"""A first look at a task: how long a call of its reference takes, and whether the reference keeps memory with each call."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import time
from pathlib import Path

from pydantic import Field

from evaluators.settings import EvaluationSettings, Protocol, TimingSettings
from kernelevolve.core.record import Record
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs

_MOST_SECONDS = 1.0
"""That calls after the first may take, together with it."""
_MOST_CALLS = 12
_GROWING_CALLS = 6
_GROWTH_BYTES = 64 << 10
"""That each of so many calls in a row must have left behind before it is called a leak: allocators settle in a few."""
_WORTH_TELLING = 20.0
"""Seconds."""
_CALLS_TO_PREPARE, _CALLS_TO_CHECK = 12, 2
"""Calls of the reference, and of a kernel, for each set of inputs,"""
_CALLS_TO_TIME = 15
"""and of both for each process that is timed, at least."""


class Probe(Record):
    """Of one task on this machine."""

    seconds: float = Field(ge=0)
    """Of the fastest call."""
    variants: int = Field(ge=0)
    growth_bytes: int = Field(ge=0)
    """That the reference keeps with each call; 0 where it keeps none, or too little to tell."""


def probe(loaded: LoadedTask) -> Probe:
    """Some calls on the main inputs; one alone where it takes long. Raises UserError where inputs, model or the first call fail."""
    inputs = draw_inputs(loaded, loaded.task.seed)
    model = build_model(loaded, loaded.task.seed)
    begin = time.monotonic()
    with loaded.blamed("forward"):
        model(*inputs)
    fastest = spent = time.monotonic() - begin
    held = [_held_bytes()]
    gc.collect()
    # What is there already is not looked through again after each call: with PyTorch loaded that takes longer than most references.
    gc.freeze()
    try:
        while len(held) < _MOST_CALLS and spent + fastest < _MOST_SECONDS:
            once = time.monotonic()
            try:
                model(*inputs)
            except Exception:  # noqa: BLE001 - the task's own code: a later call that raises is told of where it matters
                break
            took = time.monotonic() - once
            fastest, spent = min(fastest, took), spent + took
            gc.collect()
            held.append(_held_bytes())
    finally:
        gc.unfreeze()
    return Probe(seconds=fastest, variants=len(loaded.get_input_variants()), growth_bytes=_growth(held))


def _growth(held: list[int]) -> int:
    steps = [late - early for early, late in itertools.pairwise(held)][-_GROWING_CALLS:]
    if len(steps) < _GROWING_CALLS or min(steps) < _GROWTH_BYTES:
        return 0
    return sorted(steps)[len(steps) // 2]


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def _held_bytes() -> int:
    """That are allocated and not freed, where glibc (2.33 or newer) tells it; else resident memory, which shows less: what is allocated may
    lie where something was freed before."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    library.mallinfo2.restype = _MallocInfo
    found = library.mallinfo2()
    return int(found.uordblks) + int(found.hblkhd)


def leak(task: Task, found: Probe) -> str:
    """What to tell of a reference that keeps memory; empty where it does not."""
    if not found.growth_bytes:
        return ""
    return (
        f"task {task.name}: the reference leaks: its process grows by {found.growth_bytes / (1 << 20):.1f} MiB with each call; "
        "let forward keep nothing that it computes"
    )


def slowness(task: Task, found: Probe, settings: EvaluationSettings, timing: TimingSettings, *, prepared: bool) -> str:
    """What to tell of a reference so slow that judging takes long, with an estimate; empty where it is not.

    `timing`: how kernels will be timed. `prepared`: the reference's results are there already.
    """
    inputs, rules = settings.inputs, settings.kernelbench
    cases = settings.trials + found.variants + inputs.shapes + inputs.values + inputs.nonfinite
    if settings.protocol is Protocol.KERNELBENCH:
        prepare, check, limit = 0.0, 2.0 * rules.trials, rules.timeout
        measure = 2.0 * (rules.warmup_calls + rules.discarded_calls + rules.timed_calls)
        longest, name = found.seconds * measure / 2, "evaluation.kernelbench.timeout"
    else:
        prepare = 0.0 if prepared else float(_CALLS_TO_PREPARE * cases)
        check, limit = float(_CALLS_TO_CHECK * cases), settings.run_timeout
        timed = 1 + found.variants if timing == settings.final else 1
        measure = float(_CALLS_TO_TIME * (timing.reference_processes + timing.kernel_processes) * timed)
        longest, name = found.seconds * check, "evaluation.run_timeout"
    judge = (check + measure) * found.seconds
    if prepare * found.seconds + judge < _WORTH_TELLING:
        return ""
    first = f"computing its results takes about {prepare * found.seconds:.0f} s once, " if prepare else ""
    text = (
        f"task {task.name}: one call of the reference takes {found.seconds:.2g} s: "
        f"{first}judging a kernel that is no faster about {judge:.0f} s"
    )
    if longest > limit:
        text += f", for which {name}={limit:g} is too short: {1.5 * longest:.0f} would do"
    return text
