"""The schema of the configuration group `evaluation`, which holds the values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from kernelevolve.core.record import Record


class TimingSettings(Record):
    """How many processes, calls and rounds a measurement takes, and how precise it has to be."""

    reference_processes: int = Field(ge=1)
    """The number of processes that hold the reference. They are timed in rotation."""
    kernel_processes: int = Field(ge=1)
    """The number of processes that hold the candidate. Several are used because the placement of its memory makes a process faster or
    slower by some percent."""
    warmup_calls: int = Field(ge=1)
    """The number of untimed calls of each runner before the first timed block."""
    block_seconds: float = Field(gt=0)
    """The approximate length of a timed block in seconds, long enough that starting and ending it costs next to nothing."""
    max_calls: int = Field(ge=1)
    """The largest number of calls in a timed block."""
    block_mb: int = Field(ge=1)
    """The most memory in MiB that the inputs of a block's calls may take, and likewise their outputs. A block has at least one call."""
    min_rounds: int = Field(ge=4)
    """The least number of rounds of a measurement."""
    max_rounds: int = Field(ge=4)
    """The largest number of rounds of a measurement."""
    target_interval: float = Field(gt=0)
    """The relative half-width of the confidence interval of the speedup at which measuring stops."""
    max_seconds: float = Field(gt=0)
    """The most seconds that a measurement takes for each kernel, on a machine that is otherwise idle."""
    disturbed_factor: float = Field(ge=1)
    """The factor by which a measurement may exceed `max_seconds` while other programs use the cores and further rounds still help."""


class DerivedSettings(Record):
    """The derived inputs, beyond the task's own, on which kernels are checked."""

    shapes: int = Field(ge=0)
    """The number of hidden shapes."""
    values: int = Field(ge=0)
    """The number of distributions of values."""
    nonfinite: bool
    """Whether one more set of inputs contains NaN and infinities."""
    memory_factor: float = Field(gt=0)
    """The most memory that inputs of a hidden shape may take, as a multiple of the main inputs' memory. At least 4 MiB are allowed."""
    export_seconds: float = Field(gt=0)
    """The processor seconds that torch.export may take to find the free dimensions of a task. If it takes longer, the evaluation says so
    and is not cached."""


class Protocol(StrEnum):
    """The rules by which kernels are evaluated."""

    STRICT = "strict"
    KERNELBENCH = "kernelbench"


class Precision(StrEnum):
    """The dtype to which KernelBench casts models and inputs."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class KernelBenchSettings(Record):
    """The counts and tolerances with which KernelBench's scripts call its `eval_kernel_against_ref`."""

    seed: int = Field(ge=0)
    """The seed of the weights, of the timed inputs and of the trials' seeds."""
    precision: Precision
    """The dtype of the models and inputs."""
    trials: int = Field(ge=1)
    """The number of correctness trials. Each has inputs of its own; all must pass."""
    tolerance: Mapping[Precision, float]
    """The value of both `atol` and `rtol` for each precision."""
    warmup_calls: int = Field(ge=0)
    """The number of untimed calls before the timed ones."""
    discarded_calls: int = Field(ge=0)
    """The number of timed calls, the first ones, whose times are discarded."""
    timed_calls: int = Field(ge=2)
    """The number of timed calls whose times count."""
    flush_mb: int = Field(ge=0)
    """The MiB that are written before each timed call, so that the caches are cold."""
    repeats: int = Field(ge=0)
    """How many times a series of timed calls is repeated as a whole when other programs disturbed it."""
    excessive_speedup: float = Field(gt=0)
    """The speedup above which a kernel is flagged."""
    timeout: float = Field(gt=0)
    """The seconds that a process may take for the trials, and again for the timed calls. KernelBench's scripts allow as much for both
    together."""


class EvaluationSettings(Record):
    """The settings of the evaluation of kernels."""

    protocol: Protocol
    """The rules by which kernels are evaluated."""
    trials: int = Field(ge=1)
    """The number of correctness trials."""
    max_draws: int = Field(ge=1)
    """The largest number of sets of inputs that are drawn for the timed calls of each set of shapes."""
    draw_mb: int = Field(ge=0)
    """The most memory in MiB that these sets of inputs may take. At least one set is drawn."""
    inputs: DerivedSettings
    """The derived inputs on which kernels are checked."""
    compile_timeout: float = Field(gt=0)
    """The seconds that compiling a kernel may take."""
    run_timeout: float = Field(gt=0)
    """The seconds that the checks of a candidate may take, or three times as long as the reference takes if that is longer; and again its
    timing. Time in which it waits for cores does not count."""
    memory_gb: float = Field(gt=0)
    """The memory in GiB that a candidate's process may take beyond what the fork server holds."""
    workers: int = Field(ge=1)
    """The number of workers that evaluate side by side. Only one of them measures at a time."""
    compile_workers: int = Field(ge=1)
    """The number of kernels that are compiled at a time, each in a Ray task."""
    batch: int = Field(ge=1)
    """The largest number of kernels that a worker gets at a time."""
    queue: int = Field(ge=1)
    """The largest number of kernels that are being compiled, wait for a worker or are being evaluated. Callers with more kernels wait."""
    cache: bool
    """Whether evaluations of earlier runs are reused and those of this run are stored."""
    cache_mb: int = Field(ge=1)
    """The disk space in MiB that the cache of evaluations may take."""
    drop_below: float = Field(ge=0, lt=1)
    """The share of the best known speedup below which a kernel is not timed further."""
    retries: int = Field(ge=0)
    """How many times an evaluation is repeated when its worker or its compile worker dies."""
    seed: int
    """The seed from which all seeds of evaluation are derived."""
    threads: int | None = Field(ge=1)
    """The number of threads of the reference and of kernels. None means the number of cores that this process may use."""
    sandbox: bool
    """Whether Landlock keeps candidates from files, TCP and other processes. On a machine without Landlock, nothing is then evaluated."""
    readable: tuple[str, ...]
    """Further paths that candidates' processes may read, because the task's own code needs them."""
    disturbed_above: float = Field(gt=0)
    """The share of the cores that other programs may use before a measurement counts as disturbed."""
    timing: TimingSettings
    """The measurement of each kernel during a run."""
    final: TimingSettings
    """The longer measurement of finalists, and of a single kernel that the user asks about."""
    kernelbench: KernelBenchSettings
    """The settings of the KernelBench protocol."""
    compile_reference_timeout: float = Field(gt=0)
    """The seconds that torch.compile may take for the reference."""
