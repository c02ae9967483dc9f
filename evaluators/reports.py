"""What children report, as the parent reads it. A candidate can write anything into its folder, so nothing is taken on trust."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any, Literal

from pydantic import ConfigDict, PositiveFloat

from evaluators.timing import Samples
from kernelevolve.core.evaluation import Status
from kernelevolve.core.record import Record


class _Report(Record):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FailureReport(_Report):
    """The candidate raised."""

    status: Literal[Status.RUNTIME_ERROR, Status.OUT_OF_MEMORY, Status.INVALID_SOURCE, Status.WRONG_SHAPE]
    summary: str
    details: str


class CaseReport(_Report):
    """The outputs for one case: a description for each of the files."""

    case: str
    out: tuple[Mapping[str, Any], ...]
    structure: str
    again: tuple[Mapping[str, Any], ...] | None = None
    changed: tuple[int, ...] = ()


class RunReport(_Report):
    """Of a correctness run."""

    cases: tuple[CaseReport, ...] = ()
    failure: FailureReport | None = None
    reference: str | None = None
    """What the task's own code raised, beside the candidate."""


class TimingReport(RunReport):
    """Of a timing run: with a candidate that did not fail it has samples and one case."""

    samples: Samples | None = None

    def plausible(self, seconds: float, rounds: int) -> bool:
        """Whether the times can have been taken within so many seconds and rounds."""
        if self.samples is None or len(self.samples.kernel) > rounds:
            return False
        total = math.fsum(self.samples.reference) + math.fsum(self.samples.kernel)
        return math.isfinite(total) and total <= seconds


class CompilingReport(_Report):
    """How torch.compile went."""

    failure: str | None = None
    note: str = ""


class ComparisonReport(_Report):
    """Of a comparison: times by name (`eager`, `compile`, kernel ids), or what made it fail."""

    times: Mapping[str, tuple[PositiveFloat, ...]] = {}
    outputs: Mapping[str, tuple[Mapping[str, Any], ...]] = {}
    failure: FailureReport | None = None
    reference: str | None = None
    compiling: CompilingReport = CompilingReport()

    def plausible(self, names: Set[str], seconds: float, rounds: int) -> bool:
        """Whether these are the times of all of these, taken within so many seconds and rounds."""
        counts = {len(values) for values in self.times.values()}
        total = math.fsum(value for values in self.times.values() for value in values)
        return (
            self.times.keys() == names
            and len(counts) == 1
            and counts <= set(range(1, rounds + 1))
            and math.isfinite(total)
            and total <= seconds
        )
