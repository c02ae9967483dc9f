"""A verdict other than ok, and how the end of a process becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelevolve.core.evaluation import Diagnosis, Status

if TYPE_CHECKING:
    from evaluators.runtime.cpu.runner_process import Ending


@dataclass(frozen=True)
class Failure:
    """Why a kernel is not ok."""

    status: Status
    stage: str
    summary: str
    details: str = ""

    @property
    def diagnosis(self) -> Diagnosis:
        """For the record, cut."""
        return Diagnosis(stage=self.stage, summary=self.summary[:2000], details=self.details[:8000])


class FailedError(Exception):
    """Ends the judging of a kernel."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.summary)
        self.failure = failure


def failed(status: Status, stage: str, summary: str, details: str = "") -> FailedError:
    return FailedError(Failure(status, stage, summary, details))


def verdict_on(ending: Ending, stage: str) -> Failure:
    """On a player that did not last."""
    tail = ending.output[-2000:]
    if ending.timeout:
        return Failure(Status.TIMEOUT, stage, f"not done after {ending.limit:.3g} s", tail)
    if ending.excess is not None:
        return Failure(Status.OUT_OF_MEMORY, stage, ending.excess, tail)
    if ending.out_of_memory:
        return Failure(Status.OUT_OF_MEMORY, stage, "more memory than it may have", tail)
    if ending.signal == 24:
        return Failure(Status.TIMEOUT, stage, "more processor time than it may have", tail)
    if ending.signal:
        return Failure(Status.CRASHED, stage, f"ended by {ending.signal_name}", tail)
    return Failure(Status.CRASHED, stage, f"ended with code {ending.code} before its result was there", tail)
