"""The records of an evaluation: the status, measurement, diagnosis and checks of one kernel on one device."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from kernelevolve.core.record import Record


class Status(StrEnum):
    """The verdict on a kernel. An infrastructure failure is not a verdict: it is retried, then raised."""

    OK = "ok"
    """The kernel passed all checks and was timed."""
    INVALID_SOURCE = "invalid_source"
    """The source is not a valid kernel."""
    COMPILE_ERROR = "compile_error"
    """The source could not be compiled."""
    RUNTIME_ERROR = "runtime_error"
    """The kernel raised an error."""
    WRONG_RESULT = "wrong_result"
    """The values of a result are wrong."""
    WRONG_SHAPE = "wrong_shape"
    """The shape, dtype or structure of a result is wrong."""
    TIMEOUT = "timeout"
    """The kernel took too long."""
    CRASHED = "crashed"
    """The process of the kernel died."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel needed more memory than allowed."""
    CHEATING = "cheating"
    """The kernel tampered with its evaluation or violated a rule of the task."""


class Ratio(Record):
    """A measured ratio with its confidence interval, where 0 < low <= value <= high."""

    value: float = Field(gt=0, allow_inf_nan=False)
    low: float = Field(gt=0, allow_inf_nan=False)
    high: float = Field(gt=0, allow_inf_nan=False)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """The confidence level of the interval."""

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
    """The reason why a kernel failed, in a form that the next proposal can use."""

    stage: str
    """The pipeline stage that failed: source, compile, correctness, timing or integrity."""
    summary: str = Field(min_length=1)
    """The reason in one line."""
    details: str = ""
    """The relevant part of the compiler messages, of the first wrong elements or of the candidate's traceback."""


VARYING_RESULTS = "results that follow from the inputs"
"""The name of the check that the task's results depend on its inputs. If the check was skipped, a kernel that ignores
its inputs may pass.
"""


class Check(Record):
    """One kind of correctness check: how often it passed, and what was skipped."""

    name: str
    """The name in the plural, since a count precedes it: `hidden shapes`."""
    count: int = Field(ge=0)
    """The number of input sets, results, calls or blocks that were found correct."""
    skipped: tuple[str, ...] = ()
    """What was not checked, and why."""
    timed_out: bool = False
    """Whether something was skipped for lack of time, so that another evaluation may check it."""


class Measurement(Record):
    """The timing of a kernel against the reference.

    Timed blocks of the two alternate on the same inputs. Each runs in processes of its own.
    """

    speedup: Ratio | None
    """The time of the reference divided by the time of the kernel, both undisturbed. None if it could not be
    determined; `not_measured` gives the reason.
    """
    not_measured: str = ""
    """The reason why there is no speedup; empty if there is one."""
    rough_speedup: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """An estimate that the search ranks by when there is no speedup. It is not reported as a result."""
    reference_seconds: float = Field(gt=0)
    """The seconds per call of the reference: a median, or a mean by KernelBench's rules. Comparable within this
    measurement only.
    """
    kernel_seconds: float = Field(gt=0)
    """The seconds per call of the kernel, computed like `reference_seconds`."""
    rounds: int = Field(gt=0)
    """The number of timed blocks of the kernel. Each has a counterpart of the reference."""
    disturbed_rounds: int = Field(default=0, ge=0)
    """The number of rounds in which other processes took cores.

    If they are few, they are left out. Otherwise the undisturbed blocks of all rounds are used, even if their
    counterparts are disturbed.
    """

    @model_validator(mode="after")
    def _speedup_or_reason(self) -> Self:
        if (self.speedup is None) != bool(self.not_measured) or (self.speedup is None) != (
            self.rough_speedup is not None
        ):
            raise ValueError("a measurement has a speedup, or a reason why not and a rough one")
        return self

    @property
    def fitness(self) -> float:
        """The value that the search ranks by: the speedup, or the rough speedup if there is none."""
        if self.speedup is not None:
            return self.speedup.value
        assert self.rough_speedup is not None
        return self.rough_speedup


class AtenShare(Record):
    """The share of a call's time that PyTorch's own operators take. Views and allocations do not count.

    It is informational: the process that runs the kernel reports it, so a malicious kernel can falsify it.
    """

    share: float = Field(ge=0, le=1, allow_inf_nan=False)
    """The time inside of ATen's operators divided by the time of one call."""
    operators: Mapping[str, float] = {}
    """Operator -> its share of the time, largest first, for those that take the most: `aten::mm` -> 0.9."""


class FallbackShare(Record):
    """The share of its work that a kernel left to the reference's operations while its results were checked.

    A kernel does so for inputs that it was not written for. The share is informational: the kernel counts in the
    attribute `__fallback` of `ModelNew`, and its own process reports it.
    """

    calls: float = Field(ge=0, le=1, allow_inf_nan=False)
    """The share of the calls."""
    seconds: float = Field(ge=0, le=1, allow_inf_nan=False)
    """The share of the time."""


class MachineState(Record):
    """What else the machine did during a measurement. A value is None if this machine does not provide it."""

    seconds: float = Field(ge=0)
    """The seconds that the measurement took."""
    cores: int | None = None
    """The number of cores that this process may use; None in old records."""
    load: float = Field(ge=0)
    """The average number of runnable tasks over the last minute, our own included."""
    foreign_share: float | None
    """The share of the cores' time that other programs took; None if the measurement was too short to tell."""
    steal_share: float | None
    """The share of the cores' time that the hypervisor gave to other machines; None if the measurement was too short to
    tell.
    """
    pressure_share: float | None
    """The share of the time in which some task waited for a core (PSI)."""
    clock_mhz: float | None
    """The mean clock rate of the cores at the end, in MHz."""
    thermal_throttles: int | None
    """The number of times that a core was slowed down because of heat."""
    cgroup_throttles: int | None
    """The number of times that our control group was paused because its CPU quota was used up."""
    disturbed: bool
    """Whether the measurement that was kept is disturbed, so that it should have been repeated."""
    repeats: int = Field(ge=0)
    """The number of measurements that were discarded because they were disturbed."""


class Evaluation(Record):
    """The result of evaluating one kernel on one device.

    An evaluation with status `ok` has a measurement; any other has a diagnosis.
    """

    kernel_id: str
    task_id: str
    device: str
    status: Status
    measurement: Measurement | None = None
    """The timing on the main inputs."""
    variants: Mapping[str, Measurement] = {}
    """Name of a further shape of the task -> the timing on it, if it was measured."""
    diagnosis: Diagnosis | None = None
    """The reason for the failure."""
    checks: tuple[Check, ...] = ()
    """The correctness checks in the order in which they were made, up to the failure if there is one."""
    aten: AtenShare | None = None
    """The share of PyTorch's own operators; None if it was not measured."""
    fallback: FallbackShare | None = None
    """The share of the reference's operations; None unless the kernel is correct and counts its fallbacks."""
    seconds: Mapping[str, float] = {}
    """Stage -> the wall-clock seconds that it took."""
    machine: MachineState | None = None
    """The state of the machine during the measurement; None if nothing was measured."""
    environment: Mapping[str, str] = {}
    """The versions and the properties of the machine that the result depends on."""
    cached: bool = False
    """Whether the result comes from an earlier run under the same conditions on this machine."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.status is Status.OK) != (self.measurement is not None):
            raise ValueError("a measurement belongs to status ok, and only to it")
        if (self.status is Status.OK) == (self.diagnosis is not None):
            raise ValueError("a diagnosis belongs to every status but ok")
        return self

    @property
    def warnings(self) -> tuple[str, ...]:
        """The reasons why the verdict is weaker than it seems; usually none."""
        return tuple(why for check in self.checks if check.name == VARYING_RESULTS for why in check.skipped)

    @property
    def speedup(self) -> Ratio | None:
        """The speedup over the reference; None also if it could not be determined (see `measurement.not_measured`)."""
        return self.measurement.speedup if self.measurement else None

    @property
    def fitness(self) -> float:
        """The speedup over the reference, or an estimate if it could not be measured; 0 if a check failed."""
        return self.measurement.fitness if self.measurement else 0.0

    @property
    def measured_fitness(self) -> float:
        """The fitness if it was measured, and 0 if it is an estimate. Improvements and limits are decided by it."""
        return 0.0 if self.rough else self.fitness

    @property
    def rough(self) -> bool:
        """Whether `fitness` is an estimate."""
        return self.measurement is not None and self.measurement.speedup is None
