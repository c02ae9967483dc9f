"""The interface of protocols of evaluation, which take a compiled kernel and return a verdict."""

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
    """Sums up the seconds of the stages of one evaluation."""

    seconds: dict[str, float] = field(default_factory=dict)
    """The seconds of each stage."""

    @contextmanager
    def lap(self, stage: str) -> Iterator[None]:
        """Add the seconds spent in this context to a stage."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begin


@dataclass(frozen=True)
class Effort:
    """How thoroughly a correct kernel is measured."""

    timing: TimingSettings
    """The settings of the measurement."""
    variants: bool = False
    """Whether the task's further inputs are timed too, and PyTorch's share of the work is measured."""
    best: float | None = None
    """The speedup of the best kernel known to a search, 0 if there is none yet, or None outside of a search.

    A kernel that is surely below the share `drop_below` of it is not timed further. One that seems better is measured again in other
    processes, and the second measurement is reported, since the highest of many measurements is biased upward.
    """


@dataclass(frozen=True)
class ProtocolResult:
    """The result of a protocol for one kernel."""

    seconds: Mapping[str, float]
    """The seconds of each stage."""
    failure: Failure | None = None
    """The failure of the kernel, or None if it is ok."""
    measurement: Measurement | None = None
    """The measurement on the main inputs, or None if the kernel failed."""
    variants: Mapping[str, Measurement] = field(default_factory=dict)
    """The measurements on the task's further inputs, by name."""
    checks: tuple[Check, ...] = ()
    """The correctness checks that were made."""
    aten: AtenShare | None = None
    """The share of a call that PyTorch's own operators take, or None if it was not measured."""
    fallback: FallbackShare | None = None
    """The share of its calls that the kernel left to the reference's operations, or None if it does not count them."""
    machine: tuple[MachineState, ...] = ()
    """The state of the machine during each measurement."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Further facts that are recorded with the environment."""


class EvaluationProtocol(ABC):
    """The rules by which the kernels of one task are evaluated. Call `close` in the end."""

    @abstractmethod
    def announce(self, timing: TimingSettings) -> str:
        """Probe the task briefly.

        Args:
            timing: The settings of measurements.

        Returns:
            One line that says so if evaluating will take long, or an empty text.

        Raises:
            UserError: The task is at fault.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Compute everything that the first evaluation needs. Raises UserError if the task is at fault."""

    @abstractmethod
    def signature(self) -> Signature:
        """Return the signature of the task's calls. Raises as `prepare` does."""

    @abstractmethod
    def evaluate(self, kernel: Kernel, artifact: Artifact, effort: Effort) -> ProtocolResult:
        """Evaluate a compiled kernel.

        Args:
            kernel: The kernel.
            artifact: The result of compiling it.
            effort: How thoroughly it is measured if it is correct.

        Returns:
            The verdict. A kernel's failure is part of it and is not raised.

        Raises:
            UserError: The task is at fault.
            InfrastructureError, OSError: This machine is at fault.
            InterruptedJobError: The runtime was interrupted.
        """

    @abstractmethod
    def close(self) -> None:
        """End the runners that are kept between evaluations."""


def signature_of(calls: Iterable[Sequence[Mapping[str, Any]]]) -> Signature:
    """Return the signature of calls. Each call is a sequence of leaves as `tensors.save` describes them."""

    def argument(meta: Mapping[str, Any]) -> Argument:
        if "value" in meta:
            value: Argument = meta["value"]
            return value
        return TensorType(dtype=meta["dtype"], shape=tuple(meta["shape"]), stride=tuple(meta["stride"]))

    return Signature(calls=tuple(tuple(argument(meta) for meta in call) for call in calls))
