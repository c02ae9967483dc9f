"""What the rows of a sweep amount to: KernelBench's `fast_p`, and geometric means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from kernelevolve.core.evaluation import Ratio
from kernelevolve.core.record import Record
from kernelevolve.sweeping.row import Row

THRESHOLDS = (0.0, 0.8, 1.0, 1.5, 2.0)
"""The values of p."""


class Scores(Record):
    """The scores of a set of tasks."""

    tasks: int
    """The number of tasks."""
    correct: int
    """The number of tasks with a correct kernel."""
    fast: dict[str, float]
    """p -> the share of tasks whose kernel is correct and more than p times as fast as eager PyTorch: KernelBench's `fast_p`."""
    surely_fast: dict[str, float]
    """p -> the same share, where the whole interval of the speedup has to lie above p."""
    over_eager: float | None
    """The geometric mean of the speedups over eager PyTorch, of the tasks that have one."""
    over_compile: float | None
    """The geometric mean of the speedups over torch.compile, of the tasks that have one."""


def scores_of(rows: Sequence[Row]) -> Scores:
    """Return the scores of rows. A task without a correct kernel counts in every share; without rows all shares are 0."""
    return Scores(
        tasks=len(rows),
        correct=sum(row.correct for row in rows),
        fast={f"{p:g}": _share(rows, p, sure=False) for p in THRESHOLDS},
        surely_fast={f"{p:g}": _share(rows, p, sure=True) for p in THRESHOLDS},
        over_eager=_mean(row.speedup for row in rows),
        over_compile=_mean(row.over_compile for row in rows),
    )


def _share(rows: Sequence[Row], p: float, *, sure: bool) -> float:
    fast = [row for row in rows if row.correct and (p == 0 or _above(row.speedup, p, sure=sure))]
    return len(fast) / len(rows) if rows else 0.0


def _above(ratio: Ratio | None, p: float, *, sure: bool) -> bool:
    return ratio is not None and (ratio.low if sure else ratio.value) > p


def _mean(ratios: Iterable[Ratio | None]) -> float | None:
    logarithms = [math.log(ratio.value) for ratio in ratios if ratio is not None]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None
