"""What every protocol of evaluation has in common: it takes a compiled kernel and returns one verdict."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from devices.base import Artifact
from evaluators.settings import TimingSettings
from evaluators.verdict import Failure
from kernelevolve.core.evaluation import AtenShare, Check, FallbackShare, MachineState, Measurement
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Argument, Signature, TensorType


@dataclass
class Laps:
    """Adds up the seconds of the stages of one evaluation."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def lap(self, stage: str) -> Iterator[None]:
        """Count what happens within towards a stage."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begin


@dataclass(frozen=True)
class Effort:
    """How much is done to measure a kernel that is right."""

    timing: TimingSettings
    variants: bool = False
    """Whether the task's further inputs are timed too, and PyTorch's share of the work is found."""
    best: float | None = None
    """The speedup of the best kernel known to a search, 0 where there is none; None outside of a search.

    A kernel that is surely below its share `drop_below` is timed no further. One that seems better is measured again, with other
    processes, and that is told: of many measurements the highest is too high.
    """


@dataclass(frozen=True)
class Verdict:
    """What a protocol found out about one kernel."""

    seconds: Mapping[str, float]
    """By stage."""
    failure: Failure | None = None
    """Why the kernel is not ok; None where it is."""
    measurement: Measurement | None = None
    """On the main inputs; None where the kernel failed."""
    variants: Mapping[str, Measurement] = field(default_factory=dict)
    """On the task's further inputs, by name."""
    checks: tuple[Check, ...] = ()
    aten: AtenShare | None = None
    fallback: FallbackShare | None = None
    machine: tuple[MachineState, ...] = ()
    """What else the machine did during each measurement."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Further facts for the record of the environment."""


class EvaluationProtocol(ABC):
    """By whose rules the kernels of one task are evaluated. `close` it."""

    @abstractmethod
    def announce(self, timing: TimingSettings) -> str:
        """Take a first look at the task. Returns a line where evaluating will take long, or nothing.

        Raises UserError where the task is at fault.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Have everything computed that the first kernel needs. Raises UserError where the task is at fault."""

    @abstractmethod
    def signature(self) -> Signature:
        """The calls of the task. Raises as `prepare` does."""

    @abstractmethod
    def evaluate(self, kernel: Kernel, artifact: Artifact, effort: Effort) -> Verdict:
        """The verdict on a compiled kernel.

        Raises UserError where the task is at fault, InfrastructureError or OSError where this machine is, InterruptedJobError where
        the runtime was interrupted.
        """

    @abstractmethod
    def close(self) -> None:
        """End the runners that were kept."""


def signature_of(calls: Iterable[Sequence[Mapping[str, Any]]]) -> Signature:
    """The signature of calls whose leaves are described as `tensors.save` does."""

    def argument(meta: Mapping[str, Any]) -> Argument:
        if "value" in meta:
            value: Argument = meta["value"]
            return value
        return TensorType(dtype=meta["dtype"], shape=tuple(meta["shape"]), stride=tuple(meta["stride"]))

    return Signature(calls=tuple(tuple(argument(meta) for meta in call) for call in calls))
