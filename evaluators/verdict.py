"""A verdict other than ok."""

from __future__ import annotations

from dataclasses import dataclass

from kernelevolve.core.evaluation import Diagnosis, Status


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
    """Ends the evaluation of a kernel."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.summary)
        self.failure = failure


def failed(status: Status, stage: str, summary: str, details: str = "") -> FailedError:
    return FailedError(Failure(status, stage, summary, details))
