"""Plots of curves with their confidence bands, as PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.experiments.statistics import Band, RunGroup, StrategyComparison


def draw(found: StrategyComparison, folder: Path) -> list[Path]:
    """Draw a comparison.

    Args:
        found: The comparison.
        folder: An existing folder.

    Returns:
        The paths of `evaluations.png` and `seconds.png`.

    Raises:
        UserError: matplotlib is missing.
    """
    axes: list[tuple[str, str, Callable[[RunGroup], Band]]] = [
        ("evaluations", "evaluations", lambda group: group.by_evaluations),
        ("seconds", "seconds", lambda group: group.by_seconds),
    ]
    return [_draw(found, folder / f"{name}.png", label, band) for name, label, band in axes]


def _draw(found: StrategyComparison, path: Path, label: str, band_of: Callable[[RunGroup], Band]) -> Path:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install 'kernelevolve[experiments]'") from error
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for group in found.groups:
        band = band_of(group)
        name = f"{group.label} ({group.runs} run{'s' if group.runs > 1 else ''})"
        (line,) = axes.step(band.at, band.mean, where="post", label=name)
        axes.fill_between(band.at, band.low, band.high, step="post", alpha=0.2, color=line.get_color(), linewidth=0)
    axes.set_xlabel(label)
    axes.set_ylabel("best speedup so far")
    axes.set_title(f"{found.task}: mean of runs, 95% band")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
    return path
