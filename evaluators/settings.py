"""How kernels are judged: the group `evaluation` of the configuration, where the values stand."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from kernelevolve.core.record import Record


class TimingSettings(Record):
    """How long to measure."""

    reference_processes: int = Field(ge=1)
    """That hold the reference, and take turns,"""
    kernel_processes: int = Field(ge=1)
    """and the candidate: where its memory lies makes a process faster or slower by some percent."""
    warmup_calls: int = Field(ge=1)
    block_seconds: float = Field(gt=0)
    """Calls are timed in blocks of about this length, so that starting and ending one costs next to nothing."""
    most_calls: int = Field(ge=1)
    """Of a block,"""
    block_mb: int = Field(ge=1)
    """and most memory that their inputs, and their outputs, take; one call is timed whatever it takes."""
    min_rounds: int = Field(ge=4)
    max_rounds: int = Field(ge=4)
    target_interval: float = Field(gt=0)
    """Relative half-width of the interval of the ratio at which measuring stops."""
    max_seconds: float = Field(gt=0)
    disturbed_factor: float = Field(ge=1)
    """Times `max_seconds`, that measuring goes on at most where others use the cores, while that pays."""


class DerivedSettings(Record):
    """Inputs beyond the task's own that kernels are judged on."""

    shapes: int = Field(ge=0)
    """Hidden shapes."""
    values: int = Field(ge=0)
    """Distributions of values."""
    nonfinite: bool
    """One more with NaN and infinities."""
    memory_factor: float = Field(gt=0)
    """Most memory of hidden shapes, as a multiple of the main inputs'; 4 MiB in any case."""
    export_seconds: float = Field(gt=0)
    """For torch.export, by which dimensions that a task leaves free are found: so long that only a fault exceeds it. What then follows is
    said, and not remembered."""


class Protocol(StrEnum):
    """By whose rules kernels are judged."""

    STRICT = "strict"
    KERNELBENCH = "kernelbench"


class Precision(StrEnum):
    """What KernelBench casts models and inputs to."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class KernelBenchSettings(Record):
    """The counts and tolerances of KernelBench's `eval_kernel_against_ref`, as its scripts call it."""

    seed: int = Field(ge=0)
    """Of weights, of timed inputs, and of the seeds of the trials."""
    precision: Precision
    trials: int = Field(ge=1)
    """Each on inputs of its own; all must pass."""
    tolerance: Mapping[Precision, float]
    """`atol` and `rtol` by precision."""
    warmup_calls: int = Field(ge=0)
    discarded_calls: int = Field(ge=0)
    """The first that are timed."""
    timed_calls: int = Field(ge=2)
    flush_mb: int = Field(ge=0)
    """Written before each timed call, so that caches are cold."""
    repeats: int = Field(ge=0)
    """Of timed calls that others disturbed, as a whole."""
    excessive_speedup: float = Field(gt=0)
    """Above which a kernel is flagged."""
    timeout: float = Field(gt=0)
    """Seconds of a process for the trials, and again for the timed calls; KernelBench's scripts give as much to the whole."""


class EvaluationSettings(Record):
    """What the verdict on a kernel rests on."""

    protocol: Protocol
    trials: int = Field(ge=1)
    most_draws: int = Field(ge=1)
    """Sets of inputs that timed calls are given, for each set of shapes,"""
    draw_mb: int = Field(ge=0)
    """and most memory that they take; one there is in any case."""
    inputs: DerivedSettings
    compile_timeout: float = Field(gt=0)
    run_timeout: float = Field(gt=0)
    memory_gb: float = Field(gt=0)
    workers: int = Field(ge=1)
    """Judges that work side by side; each measures alone."""
    compile_workers: int = Field(ge=1)
    """Kernels that are compiled at a time, as tasks of their own."""
    batch: int = Field(ge=1)
    """Kernels that a judge is handed at a time."""
    queue: int = Field(ge=1)
    """Kernels that are compiled, wait for a judge or are judged; the others wait where they came from."""
    cache: bool
    """Take verdicts of earlier runs, and keep those of this one,"""
    cache_mb: int = Field(ge=1)
    """on so much of the user's disk."""
    drop_below: float = Field(ge=0, lt=1)
    retries: int = Field(ge=0)
    seed: int
    threads: int | None = Field(ge=1)
    """For the reference and for kernels; None: as many as the machine that measures has cores for us."""
    sandbox: bool
    """Keep candidates from files, TCP and other processes, by Landlock; where the machine has none, judge nobody's code."""
    readable: tuple[str, ...]
    """Further paths that the task's own code reads while a candidate is judged beside it."""
    disturbed_above: float = Field(gt=0)
    """Share of the cores that others may take from a measurement."""
    timing: TimingSettings
    final: TimingSettings
    kernelbench: KernelBenchSettings
    compile_reference_timeout: float = Field(gt=0)
