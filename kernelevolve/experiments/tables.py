"""A comparison as tables for a terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kernelevolve.experiments.curves import Curve
from kernelevolve.experiments.statistics import Interval, StrategyComparison, TimeToTarget


def view(found: StrategyComparison) -> RenderableType:
    """Render a comparison for a terminal."""
    head = Text(f"{found.task}: the first {found.horizon} evaluations of each run (as many as the shortest has)")
    speedups = list(found.groups[0].reached)
    groups = Table("", "runs", "best (95%)", "on average (95%)", *(f"to {speedup:g}x" for speedup in speedups))
    for group in found.groups:
        reached = [_reached(group.reached[speedup]) for speedup in speedups]
        groups.add_row(group.label, str(group.runs), _interval(group.final), _interval(group.area), *reached)
    parts: list[RenderableType] = [head, groups]
    if found.duels:
        duels = Table("a run of", "is better than one of", "with probability (95%)", "p, rank test")
        for duel in found.duels:
            p = f"{duel.p_value:.3g}" if duel.p_value is not None else "one run"
            duels.add_row(duel.first, duel.second, _interval(duel.better), p)
        parts.append(duels)
    return Lines(*parts)


def _interval(found: Interval) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _reached(found: TimeToTarget) -> str:
    if found.evaluations is None or found.seconds is None:
        return f"{found.share:.0%} of runs"
    return f"{found.evaluations:.0f} evaluations, {found.seconds:.0f} s"


def to_json(found: StrategyComparison) -> dict[str, Any]:
    """Return a comparison as plain data, without its curves, which the CSV holds."""
    return {
        "task": found.task,
        "horizon": found.horizon,
        "seconds": found.seconds,
        "groups": [
            {
                "label": group.label,
                "runs": group.runs,
                "final": vars(group.final),
                "area": vars(group.area),
                "reached": {f"{speedup:g}": vars(reached) for speedup, reached in group.reached.items()},
            }
            for group in found.groups
        ],
        "duels": [{**vars(duel), "better": vars(duel.better)} for duel in found.duels],
    }


def write_csv(curves: Sequence[Curve], path: Path) -> Path:
    """Write every point of every curve. Return the path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "run", "evaluation", "seconds", "best"])
        for curve in curves:
            for number, (seconds, best) in enumerate(zip(curve.seconds, curve.best, strict=True), 1):
                rows.writerow([curve.label, curve.run, number, f"{seconds:.6g}", f"{best:.6g}"])
    return path
