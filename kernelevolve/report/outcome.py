"""How a run ended, in a word for programs and a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from kernelevolve.core.evaluation import Ratio


class Outcome(StrEnum):
    """The best that a run has to show."""

    FASTER = "faster"
    """A kernel that is surely faster than PyTorch."""
    NOT_FASTER = "not_faster"
    """Right kernels, none of them surely faster."""
    NOT_MEASURED = "not_measured"
    """Right kernels, of which other programs let none be measured."""
    NONE_CORRECT = "none_correct"
    """Kernels were judged, and none is right."""
    NOTHING_JUDGED = "nothing_judged"
    """The run ended before a verdict."""

    @property
    def exit_code(self) -> int:
        """0 where there is a right kernel, else 1."""
        return 1 if self in (Outcome.NONE_CORRECT, Outcome.NOTHING_JUDGED) else 0


def outcome_of(speedup: Ratio | None, *, correct: bool, judged: int) -> Outcome:
    """`speedup`: of the best kernel over eager PyTorch; None where it was not measured. `correct`: whether there is a right kernel.
    `judged`: kernels with a verdict."""
    if correct:
        if speedup is None:
            return Outcome.NOT_MEASURED
        return Outcome.FASTER if speedup.faster else Outcome.NOT_FASTER
    return Outcome.NONE_CORRECT if judged else Outcome.NOTHING_JUDGED


def outcome_text(
    outcome: Outcome, stop: str, failures: Sequence[tuple[int, str]], under_way: Sequence[str], dropped: int
) -> str:
    """A sentence; "" for `FASTER`, whose figures speak, and for `NOT_MEASURED`, whose reason is told with the figures.

    `stop`: the rule that ended the run. `failures`: kernels and why they failed, the commonest first. `under_way`: at the end, where
    nothing was judged. `dropped`: right kernels that failed in the last measurement.
    """
    match outcome:
        case Outcome.FASTER | Outcome.NOT_MEASURED:
            return ""
        case Outcome.NOT_FASTER:
            return "nothing faster than PyTorch was found"
        case Outcome.NONE_CORRECT if dropped:
            return "no kernel came through the last measurement"
        case Outcome.NONE_CORRECT:
            total = sum(count for count, _ in failures)
            commonest = f"; {failures[0][0]} of {total} kernels failed so: {failures[0][1]}" if failures else ""
            return f"no kernel is correct{commonest}"
        case Outcome.NOTHING_JUDGED:
            doing = f"; {', '.join(under_way)}" if under_way else ""
            return f"no kernel was judged before the end ({stop}){doing}"
