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
    """Counts the checks of one evaluation that passed, and the reasons why others were skipped."""

    def __init__(self) -> None:
        self._done: Counter[str] = Counter()
        self._skipped: dict[str, list[str]] = {}
        self._timed_out: set[str] = set()

    def add(self, name: str, count: int = 1) -> None:
        """Record that a check passed.

        Args:
            name: The name of the check.
            count: How many items it covered.
        """
        self._done[name] += count

    def skip(self, name: str, why: Sequence[str], *, timed_out: bool = False) -> None:
        """Record that some or all of a check was not made.

        Args:
            name: The name of the check.
            why: The reasons.
            timed_out: Whether it was skipped because time ran out.
        """
        self._skipped.setdefault(name, []).extend(why)
        if timed_out:
            self._timed_out.add(name)

    def begin(self, reference: Reference) -> None:
        """Clear the record and note what is skipped in every evaluation with this reference."""
        self._done.clear()
        self._skipped.clear()
        self._timed_out.clear()
        for name, why in reference.skipped.items():
            self.skip(name, why, timed_out=name in reference.timed_out)
        main = reference.main
        if main.later is None:
            self.skip(EVALUATION_MODE, ["neither calls nor evaluation mode change a result"])
        floating = [meta for meta in main.expected.native if "float" in meta["dtype"]]
        if not floating:
            self.skip(FLOAT64, ["the results are exact"])
        elif main.expected.oracle is None:
            self.skip(
                FLOAT64,
                [
                    "the reference does not run in float64, or computes another function there: kernels are compared with its own results"
                ],
            )

    def checks(self) -> tuple[Check, ...]:
        """Return all checks in the order in which they were first made; those that were never made come last."""
        skipped = self._skipped
        return tuple(
            Check(
                name=name,
                count=self._done[name],
                skipped=tuple(skipped.get(name, ())),
                timed_out=name in self._timed_out,
            )
            for name in dict.fromkeys([*self._done, *skipped])
        )


def in_words(checks: Sequence[Check]) -> str:
    """Return checks as text, such as `2 own inputs, 3 hidden shapes (1 left out)`; empty where there are none."""

    def words(check: Check) -> str:
        left = f" ({len(check.skipped)} left out)" if check.skipped and check.count else ""
        return f"{check.count or 'no'} {check.name}{left}"

    return ", ".join(words(check) for check in checks)
