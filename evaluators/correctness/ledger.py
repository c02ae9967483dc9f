"""What a verdict rests on, written down as it is done."""

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
    """Of one evaluation."""

    def __init__(self) -> None:
        self._done: Counter[str] = Counter()
        self._left_out: dict[str, list[str]] = {}
        self._overtime: set[str] = set()

    def add(self, name: str, count: int = 1) -> None:
        """It was done, and what it looked at was right."""
        self._done[name] += count

    def leave_out(self, name: str, why: Sequence[str], *, overtime: bool = False) -> None:
        """Some of it, or all, was not done. `overtime`: because time ran out."""
        self._left_out.setdefault(name, []).extend(why)
        if overtime:
            self._overtime.add(name)

    def begin(self, reference: Reference) -> None:
        """Start anew, with what is left out of every evaluation with this reference."""
        self._done.clear()
        self._left_out.clear()
        self._overtime.clear()
        for name, why in reference.left_out.items():
            self.leave_out(name, why, overtime=name in reference.overtime)
        main = reference.main
        if main.later is None:
            self.leave_out(EVALUATION_MODE, ["nothing is different then"])
        floating = [meta for meta in main.answers.native if "float" in meta["dtype"]]
        if not floating:
            self.leave_out(FLOAT64, ["the results are exact"])
        elif main.answers.oracle is None:
            self.leave_out(
                FLOAT64,
                ["the reference does not run in float64, or is another function there: held against its own results"],
            )

    def told(self) -> tuple[Check, ...]:
        """In the order in which they were first done, those that were not done at all last."""
        left = self._left_out
        return tuple(
            Check(
                name=name, count=self._done[name], left_out=tuple(left.get(name, ())), overtime=name in self._overtime
            )
            for name in dict.fromkeys([*self._done, *left])
        )


def in_words(checks: Sequence[Check]) -> str:
    """Such as `2 own inputs, 3 hidden shapes (1 left out)`; empty where there are none."""

    def words(check: Check) -> str:
        left = f" ({len(check.left_out)} left out)" if check.left_out and check.count else ""
        return f"{check.count or 'no'} {check.name}{left}"

    return ", ".join(words(check) for check in checks)
