"""What was found out about one kernel on one device."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from kernelevolve.core.record import Record


class Status(StrEnum):
    """The verdict on a kernel. An infrastructure failure is no verdict: it is retried, then raised."""

    OK = "ok"
    INVALID_SOURCE = "invalid_source"
    COMPILE_ERROR = "compile_error"
    RUNTIME_ERROR = "runtime_error"
    WRONG_RESULT = "wrong_result"
    WRONG_SHAPE = "wrong_shape"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    CHEATING = "cheating"


class Ratio(Record):
    """A measured ratio with its confidence interval, all positive, low <= value <= high."""

    value: float = Field(gt=0, allow_inf_nan=False)
    low: float = Field(gt=0, allow_inf_nan=False)
    high: float = Field(gt=0, allow_inf_nan=False)
    confidence: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} lies outside of its interval [{self.low}, {self.high}]")
        return self

    @property
    def faster(self) -> bool:
        """Whether the whole interval lies above 1."""
        return self.low > 1


class Diagnosis(Record):
    """Why a kernel failed, in a form that the next proposal can use."""

    stage: str
    """The pipeline stage that failed: source, compile, correctness, timing, integrity."""
    summary: str = Field(min_length=1)
    """One line."""
    details: str = ""
    """Compiler messages, first wrong elements, a traceback of the candidate: cut to the point."""


VARYING_RESULTS = "results that follow from the inputs"
"""The name of a check of the task itself: where it could not be done, a kernel that looks at no input may be right."""


class Check(Record):
    """One kind of look at a kernel's correctness: how often it was done, and what of it was not."""

    name: str
    """In the plural, as a count stands before it: `hidden shapes`."""
    count: int = Field(ge=0)
    """Sets of inputs, results, calls or blocks that were found right."""
    left_out: tuple[str, ...] = ()
    """What was not looked at, and why."""
    overtime: bool = False
    """Whether something was left out because time ran out: another evaluation may look at it."""


class Measurement(Record):
    """One timing of a kernel against the reference, in turns on the same inputs, each in processes of its own."""

    speedup: Ratio | None
    """Time of the reference / time of the kernel where nobody disturbs either; None where that cannot be told:"""
    not_measured: str = ""
    """why not, in words; empty where it can."""
    rough_speedup: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """A guess in its place, by which a search ranks; nothing to tell anybody."""
    reference_seconds: float = Field(gt=0)
    kernel_seconds: float = Field(gt=0)
    """Medians per call, by KernelBench's rules means. Comparable within this measurement only."""
    rounds: int = Field(gt=0)
    """Blocks of the kernel, each with one of the reference."""
    disturbed_rounds: int = Field(default=0, ge=0)
    """Of these, those in which other processes took cores. Where they are few they are left out, else the blocks that were left alone
    are taken from all rounds, whatever came of their counterparts."""

    @model_validator(mode="after")
    def _told_or_not(self) -> Self:
        if (self.speedup is None) != bool(self.not_measured) or (self.speedup is None) != (
            self.rough_speedup is not None
        ):
            raise ValueError("a measurement has a speedup, or a reason why not and a rough one")
        return self

    @property
    def rank(self) -> float:
        """What a search goes by: the speedup, a guess where it could not be measured."""
        if self.speedup is not None:
            return self.speedup.value
        assert self.rough_speedup is not None
        return self.rough_speedup


class AtenShare(Record):
    """How much of a kernel's work PyTorch does: time inside of ATen's operators / time of one call. Views and allocation do not count.

    Informational. The process that the kernel runs in tells it, so a kernel that means to can have it say anything.
    """

    share: float = Field(ge=0, le=1, allow_inf_nan=False)
    operators: Mapping[str, float] = {}
    """The share of those that take the most, the first first: `aten::mm` -> 0.9."""


class FallbackShare(Record):
    """How much of its work a kernel left to the reference's own operations, for inputs that it was not written for, while its results
    were checked.

    Informational. The kernel counts for itself, in the attribute `__fallback` of `ModelNew`, and its process tells it.
    """

    calls: float = Field(ge=0, le=1, allow_inf_nan=False)
    """The share of the calls."""
    seconds: float = Field(ge=0, le=1, allow_inf_nan=False)
    """The share of the time."""


class MachineState(Record):
    """What else the machine did while a kernel was measured. None where this machine does not tell it."""

    seconds: float = Field(ge=0)
    """Of measuring."""
    cores: int | None = None
    """That this process may use; None in records of before they were counted."""
    load: float = Field(ge=0)
    """Average number of runnable tasks over the last minute, our own among them."""
    foreign_share: float | None
    """Of the cores' time that other programs took, and"""
    steal_share: float | None
    """that the hypervisor gave to other machines; None where the measurement was too short to tell."""
    pressure_share: float | None
    """Of the time in which some task waited for a core (PSI)."""
    clock_mhz: float | None
    """Mean over the cores, at the end."""
    thermal_throttles: int | None
    """Times that a core was slowed down because of heat."""
    cgroup_throttles: int | None
    """Times that our control group was stopped because it had used up its share."""
    disturbed: bool
    """Whether the measurement that was kept is one that should have been repeated."""
    repeats: int = Field(ge=0)
    """Measurements that were thrown away because they were disturbed."""


class Evaluation(Record):
    """The verdict on one kernel on one device: `ok` has a measurement, everything else has a diagnosis."""

    kernel_id: str
    task_id: str
    device: str
    status: Status
    measurement: Measurement | None = None
    """Of the main inputs."""
    variants: Mapping[str, Measurement] = {}
    """Of the further named shapes, where they were measured."""
    diagnosis: Diagnosis | None = None
    checks: tuple[Check, ...] = ()
    """What the verdict rests on, in the order in which it was done; up to the failure, where there is one."""
    aten: AtenShare | None = None
    """Where it was looked at."""
    fallback: FallbackShare | None = None
    """Where the kernel counts, and is correct."""
    seconds: Mapping[str, float] = {}
    """Wall time spent by stage."""
    machine: MachineState | None = None
    """Where something was measured."""
    environment: Mapping[str, str] = {}
    """Versions and facts of the machine that the verdict depends on."""
    cached: bool = False
    """An earlier run found it, under the same conditions on this machine."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.status is Status.OK) != (self.measurement is not None):
            raise ValueError("a measurement belongs to status ok, and only to it")
        if (self.status is Status.OK) == (self.diagnosis is not None):
            raise ValueError("a diagnosis belongs to every status but ok")
        return self

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the verdict says less than it seems to, in words; as a rule there are none."""
        return tuple(why for check in self.checks if check.name == VARYING_RESULTS for why in check.left_out)

    @property
    def speedup(self) -> Ratio | None:
        """None also where it could not be measured: `measurement.not_measured` says why."""
        return self.measurement.speedup if self.measurement else None

    @property
    def fitness(self) -> float:
        """Speedup over the reference, a guess where it could not be measured; 0 for anything that is not proven correct."""
        return self.measurement.rank if self.measurement else 0.0

    @property
    def measured_fitness(self) -> float:
        """The same, 0 where it is a guess: what others are held against."""
        return 0.0 if self.rough else self.fitness

    @property
    def rough(self) -> bool:
        """Whether `fitness` is a guess."""
        return self.measurement is not None and self.measurement.speedup is None
