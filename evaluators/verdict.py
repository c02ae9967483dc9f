"""The failure of a kernel in its evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from kernelevolve.core.evaluation import Diagnosis, Status


@dataclass(frozen=True)
class Failure:
    """The reason why a kernel failed its evaluation."""

    status: Status
    """The status of the evaluation."""
    stage: str
    """The stage in which the kernel failed."""
    summary: str
    """What is wrong, in one line."""
    details: str = ""
    """Further text, such as a traceback or compiler messages."""

    @property
    def diagnosis(self) -> Diagnosis:
        """The failure as it is recorded, with its texts cut to the lengths that a record keeps."""
        return Diagnosis(stage=self.stage, summary=self.summary[:2000], details=self.details[:8000])


class FailedError(Exception):
    """Ends the evaluation of a kernel with a failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.summary)
        self.failure = failure


def failed(status: Status, stage: str, summary: str, details: str = "") -> FailedError:
    """Return the error that ends an evaluation with a `Failure` of these fields."""
    return FailedError(Failure(status, stage, summary, details))
