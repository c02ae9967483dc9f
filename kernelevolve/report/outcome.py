"""The outcome of a run, as a keyword for programs and a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from kernelevolve.core.evaluation import Ratio


class Outcome(StrEnum):
    """The best result of a run."""

    FASTER = "faster"
    """A kernel that is significantly faster than PyTorch."""
    NOT_FASTER = "not_faster"
    """Correct kernels, none of them significantly faster."""
    NOT_MEASURED = "not_measured"
    """Correct kernels, none of which could be measured because of other programs."""
    NONE_CORRECT = "none_correct"
    """Kernels were evaluated, and none is correct."""
    NOTHING_EVALUATED = "nothing_evaluated"
    """The run ended before the first evaluation."""

    @property
    def exit_code(self) -> int:
        """The exit code: 0 if there is a correct kernel, else 1."""
        return 1 if self in (Outcome.NONE_CORRECT, Outcome.NOTHING_EVALUATED) else 0


def outcome_of(speedup: Ratio | None, *, correct: bool, judged: int) -> Outcome:
    """Return the outcome of a run.

    Args:
        speedup: The speedup of the best kernel over eager PyTorch; None if it was not measured.
        correct: Whether there is a correct kernel.
        judged: The number of evaluated kernels.
    """
    if correct:
        if speedup is None:
            return Outcome.NOT_MEASURED
        return Outcome.FASTER if speedup.faster else Outcome.NOT_FASTER
    return Outcome.NONE_CORRECT if judged else Outcome.NOTHING_EVALUATED


def outcome_text(
    outcome: Outcome, stop: str, failures: Sequence[tuple[int, str]], in_flight: Sequence[str], dropped: int
) -> str:
    """Describe an outcome in one sentence.

    Args:
        outcome: The outcome.
        stop: The rule that ended the run.
        failures: The reasons why kernels failed with the number of kernels, the most frequent first.
        in_flight: The work in progress at the end, if nothing was evaluated.
        dropped: The number of correct kernels that failed in the final measurement.

    Returns:
        The sentence; "" for `FASTER` and `NOT_MEASURED`, which the figures explain.
    """
    match outcome:
        case Outcome.FASTER | Outcome.NOT_MEASURED:
            return ""
        case Outcome.NOT_FASTER:
            return "nothing faster than PyTorch was found"
        case Outcome.NONE_CORRECT if dropped:
            return "no kernel passed the final measurement"
        case Outcome.NONE_CORRECT:
            total = sum(count for count, _ in failures)
            most_frequent = (
                f"; the most frequent reason ({failures[0][0]} of {total} kernels): {failures[0][1]}"
                if failures
                else ""
            )
            return f"no kernel is correct{most_frequent}"
        case Outcome.NOTHING_EVALUATED:
            doing = f"; {', '.join(in_flight)}" if in_flight else ""
            return f"no kernel was evaluated before the end ({stop}){doing}"
