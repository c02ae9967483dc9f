"""The record of the checks that one evaluation has made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evaluators.correctness.reference.data import Reference
from kernelevolve.core.evaluation import Check

INPUTS_AFTERWARDS = "inputs afterwards"
SECOND_CALL = "second calls"
EVALUATION_MODE = "evaluation mode after calls"
FLOAT64 = "results against float64"
TIMED_CALLS = "timed blocks"
RULE = "rule on PyTorch's own compute"
TRIALS = "trials"


class Ledger:
    """Counts the checks of one evaluation that passed, and the reasons why others were left out."""

    def __init__(self) -> None:
        self._done: Counter[str] = Counter()
        self._left_out: dict[str, list[str]] = {}
        self._overtime: set[str] = set()

    def add(self, name: str, count: int = 1) -> None:
        """Record that a check passed.

        Args:
            name: The name of the check.
            count: How many items it covered.
        """
        self._done[name] += count

    def leave_out(self, name: str, why: Sequence[str], *, overtime: bool = False) -> None:
        """Record that some or all of a check was not made.

        Args:
            name: The name of the check.
            why: The reasons.
            overtime: Whether it was left out because time ran out.
        """
        self._left_out.setdefault(name, []).extend(why)
        if overtime:
            self._overtime.add(name)

    def begin(self, reference: Reference) -> None:
        """Clear the record and note what is left out of every evaluation with this reference."""
        self._done.clear()
        self._left_out.clear()
        self._overtime.clear()
        for name, why in reference.left_out.items():
            self.leave_out(name, why, overtime=name in reference.overtime)
        main = reference.main
        if main.later is None:
            self.leave_out(EVALUATION_MODE, ["neither calls nor evaluation mode change a result"])
        floating = [meta for meta in main.expected.native if "float" in meta["dtype"]]
        if not floating:
            self.leave_out(FLOAT64, ["the results are exact"])
        elif main.expected.oracle is None:
            self.leave_out(
                FLOAT64,
                [
                    "the reference does not run in float64, or computes another function there: kernels are compared with its own results"
                ],
            )

    def checks(self) -> tuple[Check, ...]:
        """Return all checks in the order in which they were first made; those that were never made come last."""
        left_out = self._left_out
        return tuple(
            Check(
                name=name,
                count=self._done[name],
                left_out=tuple(left_out.get(name, ())),
                overtime=name in self._overtime,
            )
            for name in dict.fromkeys([*self._done, *left_out])
        )


def in_words(checks: Sequence[Check]) -> str:
    """Return checks as text, such as `2 own inputs, 3 hidden shapes (1 left out)`; empty where there are none."""

    def words(check: Check) -> str:
        left = f" ({len(check.left_out)} left out)" if check.left_out and check.count else ""
        return f"{check.count or 'no'} {check.name}{left}"

    return ", ".join(words(check) for check in checks)
