"""Statistics of curves of several runs, grouped by the settings that they differ in.

All intervals are 95% percentile bootstrap intervals over runs (Efron 1979) with a fixed seed. Groups are compared as
Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", propose: by the
probability that a run of one group is better than a run of the other, together with the rank test of Mann and
Whitney.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kernelevolve.core.errors import UserError
from kernelevolve.experiments.curves import Curve

_RESAMPLES = 2000
"""The number of bootstrap samples."""
_LOW, _HIGH = 2.5, 97.5
_POINTS = 200
"""The number of points of a curve against time."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Band:
    """The mean of several runs along an axis, with its interval at each point."""

    at: np.ndarray
    """The points on the axis: shape (points,)."""
    mean: np.ndarray
    """The mean: shape (points,)."""
    low: np.ndarray
    """The lower end of the interval: shape (points,)."""
    high: np.ndarray
    """The upper end of the interval: shape (points,)."""


@dataclass(frozen=True)
class TimeToTarget:
    """How soon runs reached a speedup."""

    share: float
    """The share of the runs that reached it within the horizon."""
    evaluations: float | None
    """The median number of evaluations over all runs; None if fewer than half of them reached it."""
    seconds: float | None
    """The median seconds over all runs; None if fewer than half of them reached it."""


@dataclass(frozen=True, eq=False)
class RunGroup:
    """The statistics of the runs with one label."""

    label: str
    runs: int
    """The number of runs."""
    final: Interval
    """The mean best speedup at the horizon."""
    area: Interval
    """The mean area under the curve against evaluations, divided by the horizon: the average best speedup along the
    way.
    """
    reached: Mapping[float, TimeToTarget]
    """Speedup -> how soon it was reached."""
    by_evaluations: Band
    """The best speedup against the number of evaluations."""
    by_seconds: Band
    """The best speedup against the seconds."""


@dataclass(frozen=True)
class PairwiseComparison:
    """The comparison of two groups by the best speedup at the horizon."""

    first: str
    second: str
    better: Interval
    """The probability that a run of the first group is better than one of the second. Ties count half."""
    p_value: float | None
    """The p-value of the two-sided Mann-Whitney test; None if a group has only one run."""


@dataclass(frozen=True, eq=False)
class StrategyComparison:
    """The comparison of all groups.

    The horizon is the length of the shortest run, since beyond it only some runs have results.
    """

    task: str
    horizon: int
    """The horizon in evaluations."""
    seconds: float
    """The horizon in seconds."""
    groups: tuple[RunGroup, ...]
    """The groups, best first by `area`."""
    duels: tuple[PairwiseComparison, ...]
    """The comparison of each pair of groups."""


def compared(curves: Sequence[Curve], speedups: Sequence[float], seed: int = 0) -> StrategyComparison:
    """Compare runs.

    Args:
        curves: The curves of the runs.
        speedups: The speedups whose time to reach is reported.
        seed: The seed of the bootstrap.

    Raises:
        UserError: There is no run.
    """
    if not curves:
        raise UserError("name the folders of some runs")
    horizon = min(map(len, curves))
    seconds = min(float(curve.seconds[-1]) for curve in curves)
    by_label: dict[str, list[Curve]] = {}
    for curve in curves:
        by_label.setdefault(curve.label, []).append(curve)
    groups = [_group(label, members, horizon, seconds, speedups, seed) for label, members in by_label.items()]
    groups.sort(key=lambda group: -group.area.value)
    duels = [
        _duel(a.label, b.label, _finals(by_label[a.label], horizon), _finals(by_label[b.label], horizon), seed)
        for a, b in combinations(groups, 2)
    ]
    return StrategyComparison(curves[0].task, horizon, seconds, tuple(groups), tuple(duels))


def _finals(curves: Sequence[Curve], horizon: int) -> np.ndarray:
    return np.array([curve.best[horizon - 1] for curve in curves])


def _group(
    label: str, curves: Sequence[Curve], horizon: int, seconds: float, speedups: Sequence[float], seed: int
) -> RunGroup:
    best = np.stack([curve.best[:horizon] for curve in curves])
    times = np.linspace(0.0, seconds, _POINTS)
    return RunGroup(
        label=label,
        runs=len(curves),
        final=mean_interval(best[:, -1], seed),
        area=mean_interval(best.mean(axis=1), seed),
        reached={speedup: _reached(curves, speedup, horizon) for speedup in speedups},
        by_evaluations=_band(np.arange(1, horizon + 1), best, seed),
        by_seconds=_band(times, np.stack([curve.at_seconds(times) for curve in curves]), seed),
    )


def _reached(curves: Sequence[Curve], speedup: float, horizon: int) -> TimeToTarget:
    found = [at for curve in curves if (at := curve.reached(speedup)) is not None and at[0] <= horizon]
    share = len(found) / len(curves)
    never = [(np.inf, np.inf)] * (len(curves) - len(found))
    evaluations, seconds = (float(np.median(column)) for column in zip(*found, *never, strict=True))
    is_finite = np.isfinite(evaluations)
    return TimeToTarget(share, evaluations if is_finite else None, seconds if is_finite else None)


def mean_interval(values: np.ndarray, seed: int) -> Interval:
    """Return the mean of one value per run, with its interval."""
    low, high = _bootstrap([values], lambda samples: samples[0].mean(axis=1), seed)
    return Interval(float(values.mean()), low, high)


def _band(at: np.ndarray, values: np.ndarray, seed: int) -> Band:
    """Return the mean of `values`, of shape (runs, points), with its interval at each point."""
    picks = np.random.default_rng(seed).integers(0, len(values), size=(_RESAMPLES, len(values)))
    weights = np.apply_along_axis(np.bincount, 1, picks, minlength=len(values)) / len(values)
    low, high = np.percentile(weights @ values, (_LOW, _HIGH), axis=0)
    return Band(at, values.mean(axis=0), low, high)


def _duel(first: str, second: str, a: np.ndarray, b: np.ndarray, seed: int) -> PairwiseComparison:
    low, high = _bootstrap([a, b], lambda samples: _better(samples[0], samples[1]), seed)
    value = float(_better(a[None, :], b[None, :])[0])
    return PairwiseComparison(first, second, Interval(value, low, high), _p_value(a, b))


def _better(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the probability that a value of `a` is larger than one of `b`, for each sample.

    Args:
        a: Shape (samples, runs).
        b: Shape (samples, runs).

    Returns:
        Shape (samples,).
    """
    difference = a[:, :, None] - b[:, None, :]
    share: np.ndarray = ((difference > 0) + 0.5 * (difference == 0)).mean(axis=(1, 2))
    return share


def _p_value(a: np.ndarray, b: np.ndarray) -> float | None:
    if min(len(a), len(b)) < 2:
        return None
    try:
        from scipy.stats import mannwhitneyu
    except ImportError as error:
        raise UserError("comparing needs scipy: pip install 'kernelevolve[experiments]'") from error
    if np.ptp(np.concatenate([a, b])) == 0:
        return 1.0
    return float(mannwhitneyu(a, b, alternative="two-sided").pvalue)


def _bootstrap(
    groups: Sequence[np.ndarray], statistic: Callable[[list[np.ndarray]], np.ndarray], seed: int
) -> tuple[float, float]:
    """Return the interval of a statistic of independent groups. Each group is resampled by itself."""
    rng = np.random.default_rng(seed)
    samples = [values[rng.integers(0, len(values), size=(_RESAMPLES, len(values)))] for values in groups]
    low, high = np.percentile(statistic(samples), (_LOW, _HIGH))
    return float(low), float(high)
