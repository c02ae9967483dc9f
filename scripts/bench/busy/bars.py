"""What was told under loads against what is told when the machine is quiet, and the bars."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import kendalltau

from scripts.bench.busy.decisions import Decision
from scripts.bench.busy.kernels import REPETITIONS
from scripts.bench.busy.loads import LOADS, QUIET

_COVERAGE = 0.90
_FALSE, _FALSE_SHARE = 1.05, 0.025
_TWICE = 2.0
_WIDEST = 1.5
_TAU = 0.8
_RANKED_UNDER = "two50"


@dataclass(frozen=True)
class Row:
    """One load against the quiet machine."""

    load: str
    count: int
    unmeasured: float
    """Share of these that were not told."""
    within: float
    """Share of the told ones that are close enough to the quiet value."""
    covered: float
    """Share of their intervals that hold it."""
    false: float
    """Share of all kernels of ratio 1 that are told to be faster."""
    lean: float
    """Median of told / quiet."""
    slowness: float
    """Median time of a decision / that on the quiet machine."""
    widest: float
    """Interval: high / low."""

    def missed(self) -> list[str]:
        """The bars that it does not meet, in words."""
        load = LOADS[self.load]
        found = []
        if self.within < load.often:
            found.append(f"{self.within:.0%} told within {load.within:.0%}, at least {load.often:.0%}")
        if self.covered < _COVERAGE:
            found.append(f"{self.covered:.0%} of the intervals hold the quiet value, at least {_COVERAGE:.0%}")
        if self.false > _FALSE_SHARE:
            found.append(f"{self.false:.1%} of ratio 1.0 told above {_FALSE}, at most {_FALSE_SHARE:.1%}")
        if self.unmeasured > load.unmeasured:
            found.append(f"{self.unmeasured:.0%} not measured, at most {load.unmeasured:.0%}")
        if self.slowness > _TWICE:
            found.append(f"a decision takes {self.slowness:.1f} times as long, at most {_TWICE:g}")
        if self.widest > _WIDEST:
            found.append(f"an interval is wider than {_WIDEST:g}: {self.widest:.2f}")
        return [f"{self.load}: {text}" for text in found]

    def text(self) -> str:
        return (
            f"{self.load:<10}{self.count:>6}{self.unmeasured:>14.0%}{self.within:>9.0%} in {LOADS[self.load].within:<5.0%}"
            f"{self.covered:>9.0%}{self.false:>12.1%}{self.lean:>8.3f}{self.widest:>8.2f}{self.slowness:>9.2f}"
        )


HEAD = (
    f"{'load':<10}{'times':>6}{'not measured':>14}{'told within':>18}"
    f"{'covered':>8}{'1.0 > 1.05':>12}{'lean':>8}{'widest':>8}{'slowness':>9}"
)


def rows(decisions: Sequence[Decision]) -> list[Row]:
    """One for each load that there are final decisions and quiet ones of."""
    made: dict[tuple[str, str, int], list[Decision]] = defaultdict(list)
    for decision in decisions:
        if decision.kind == "final":
            made[decision.load, decision.threads, decision.repetitions].append(decision)
    found = []
    for load in LOADS:
        pairs = [
            (decision, made[QUIET, threads, repetitions])
            for (name, threads, repetitions), group in made.items()
            for decision in group
            if name == load and any(quiet.value for quiet in made.get((QUIET, threads, repetitions), ()))
        ]
        if pairs:
            found.append(_row(load, pairs))
    return found


def _row(load: str, pairs: Sequence[tuple[Decision, Sequence[Decision]]]) -> Row:
    errors, covers, widths, slowness = [], [], [1.0], []
    for decision, quiet in pairs:
        slowness.append(decision.seconds / statistics.median(each.seconds for each in quiet))
        if decision.value is None or decision.low is None or decision.high is None:
            continue
        true = statistics.median(each.value for each in quiet if each.value is not None)
        errors.append(decision.value / true)
        covers.append(decision.low <= true <= decision.high)
        widths.append(decision.high / decision.low)
    alike = [decision for decision, _ in pairs if decision.repetitions == REPETITIONS]
    false = [decision for decision in alike if decision.value is not None and decision.value > _FALSE]
    return Row(
        load=load,
        count=len(pairs),
        unmeasured=1 - len(errors) / len(pairs),
        within=sum(abs(error - 1) <= LOADS[load].within for error in errors) / max(1, len(errors)),
        covered=sum(covers) / max(1, len(covers)),
        false=len(false) / max(1, len(alike)),
        lean=statistics.median(errors) if errors else float("nan"),
        slowness=statistics.median(slowness),
        widest=max(widths),
    )


def ranks(decisions: Sequence[Decision]) -> dict[str, float]:
    """Kendall's tau between the ranks of kernels by what a search goes by, quiet and under the load, by threads."""
    found = {}
    for threads in sorted({d.threads for d in decisions}):
        quiet, busy = (
            {d.repetitions: d.rank for d in decisions if (d.kind, d.load, d.threads) == ("search", load, threads)}
            for load in (QUIET, _RANKED_UNDER)
        )
        both = sorted(quiet.keys() & busy.keys())
        if len(both) > 1:
            found[threads] = float(kendalltau([quiet[n] for n in both], [busy[n] for n in both]).statistic)
    return found


def missed(found: Sequence[Row], taus: dict[str, float]) -> list[str]:
    """Bars that are not met, in words."""
    texts = [text for row in found for text in row.missed()]
    return texts + [
        f"ranks under {_RANKED_UNDER}, {threads}: tau {tau:.2f}, at least {_TAU}"
        for threads, tau in taus.items()
        if tau < _TAU
    ]
