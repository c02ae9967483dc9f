"""The probe of a task: how long a call of its reference takes, and whether the reference leaks memory."""

from __future__ import annotations

import ctypes
import gc
import itertools
import math
import os
import time
from pathlib import Path

from pydantic import Field

from evaluators.settings import EvaluationSettings, Protocol, TimingSettings
from kernelevolve.core.record import Record
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import LoadedTask, build_model, draw_inputs
from kernelevolve.tasks.placing import placed, synchronize

_MAX_SECONDS = 1.0
"""The total seconds of all calls beyond which no further call is made."""
_MAX_CALLS = 12
"""The largest number of calls."""
_GROWING_CALLS = 6
"""The number of consecutive calls that must grow the process before it counts as a leak, since allocators settle within a few calls."""
_GROWTH_BYTES = 64 << 10
"""The least growth of each of these calls, in bytes."""
_WORTH_TELLING = 20.0
"""The estimated seconds of an evaluation from which on the user is warned."""
_CALLS_TO_PREPARE = 12
"""The estimated calls of the reference for each set of inputs when the reference outputs are computed."""
_CALLS_TO_CHECK = 2
"""The estimated calls of a kernel for each set of inputs when it is checked."""
_GRANTED = 3.0
"""How many times as long as the reference a kernel may take to be checked, if that is longer than `run_timeout`."""
_CALLS_TO_TIME = 15
"""The least calls of the reference and of the kernel for each process that is timed."""


class Probe(Record):
    """The result of probing one task on this machine."""

    seconds: float = Field(ge=0)
    """The seconds of the fastest call."""
    variants: int = Field(ge=0)
    """The number of the task's input variants."""
    growth_bytes: int = Field(ge=0)
    """The bytes by which each call grows the process; 0 where the growth is too small to be a leak."""


def probe(loaded: LoadedTask, device: str = "cpu") -> Probe:
    """Call the reference on the main inputs, once where a call is slow and several times otherwise.

    Args:
        loaded: The task.
        device: The type of the device that computes.

    Returns:
        The time of a call and the growth of memory with each call.

    Raises:
        UserError: The inputs, the model or the first call fail.
    """
    inputs = placed(draw_inputs(loaded, loaded.task.seed), device)
    model = build_model(loaded, loaded.task.seed).to(device=device)
    begin = time.monotonic()
    with loaded.blamed("forward"):
        model(*inputs)
        synchronize(device)
    fastest = spent = time.monotonic() - begin
    held = [_held_bytes()]
    gc.collect()
    # Existing objects are excluded from the collections below: scanning PyTorch's objects takes longer than most references.
    gc.freeze()
    try:
        while len(held) < _MAX_CALLS and spent + fastest < _MAX_SECONDS:
            once = time.monotonic()
            try:
                model(*inputs)
                synchronize(device)
            except Exception:  # noqa: BLE001 - the task's own code: the reference outputs report a later call that raises
                break
            seconds = time.monotonic() - once
            fastest, spent = min(fastest, seconds), spent + seconds
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
    """The `struct mallinfo2` of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def _held_bytes() -> int:
    """Return the bytes that are allocated and not freed, from glibc 2.33 or newer; without it, the resident memory.

    Resident memory shows smaller leaks less reliably, since new allocations may reuse memory that was freed before.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    library.mallinfo2.restype = _MallocInfo
    info = library.mallinfo2()
    return int(info.uordblks) + int(info.hblkhd)


def leak(task: Task, found: Probe) -> str:
    """Return a message about a reference that leaks memory; empty where it does not leak.

    Args:
        task: The task.
        found: Its probe.
    """
    if not found.growth_bytes:
        return ""
    return (
        f"task {task.name}: the reference leaks: its process grows by {found.growth_bytes / (1 << 20):.1f} MiB with each call; "
        "store nothing in forward that outlives the call"
    )


def check_seconds(found: Probe, settings: EvaluationSettings, cases: int) -> float:
    """Return the limit on the seconds of the checks of a kernel: `run_timeout`, or three times what the reference takes if that is longer.

    Args:
        found: The probe of the task.
        settings: The settings of evaluations.
        cases: The number of sets of inputs.
    """
    return max(settings.run_timeout, _GRANTED * _CALLS_TO_CHECK * (cases + 1) * found.seconds)


def preparation_seconds(found: Probe, settings: EvaluationSettings) -> float:
    """Return the limit on the seconds in which the reference outputs are computed, for the task's own inputs and again for derived ones.

    Args:
        found: The probe of the task.
        settings: The settings of evaluations.
    """
    return max(10 * settings.run_timeout, _GRANTED * _CALLS_TO_PREPARE * _cases(found, settings) * found.seconds)


def _cases(found: Probe, settings: EvaluationSettings) -> int:
    """Return the number of sets of inputs that a kernel is checked on, at least."""
    inputs = settings.inputs
    return settings.trials + found.variants + inputs.shapes + inputs.values + inputs.nonfinite


def slowness(task: Task, found: Probe, settings: EvaluationSettings, timing: TimingSettings, *, prepared: bool) -> str:
    """Return a warning about a reference so slow that evaluations take long, with an estimate; empty where it is fast enough.

    Args:
        task: The task.
        found: Its probe.
        settings: The settings of evaluations.
        timing: How kernels will be timed.
        prepared: Whether the reference outputs have been computed before.
    """
    rules, cases = settings.kernelbench, _cases(found, settings)
    if settings.protocol is Protocol.KERNELBENCH:
        prepare, check, limit = 0.0, 2.0 * rules.trials, rules.timeout
        measure = 2.0 * (rules.warmup_calls + rules.discarded_calls + rules.timed_calls)
        longest, name = found.seconds * measure / 2, "evaluation.kernelbench.timeout"
    else:
        prepare = 0.0 if prepared else float(_CALLS_TO_PREPARE * cases)
        check, limit = float(_CALLS_TO_CHECK * cases), math.inf  # See `check_seconds`.
        timed = 1 + found.variants if timing == settings.final else 1
        measure = float(_CALLS_TO_TIME * (timing.reference_processes + timing.kernel_processes) * timed)
        longest, name = 0.0, ""
    evaluation = (check + measure) * found.seconds
    if prepare * found.seconds + evaluation < _WORTH_TELLING:
        return ""
    first = f"computing its results takes about {prepare * found.seconds:.0f} s once, " if prepare else ""
    text = (
        f"task {task.name}: one call of the reference takes {found.seconds:.2g} s: "
        f"{first}evaluating a kernel that is no faster about {evaluation:.0f} s"
    )
    if longest > limit:
        text += f", for which {name}={limit:g} is too short: set it to {1.5 * longest:.0f}"
    return text
