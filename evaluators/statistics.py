"""From times to a ratio with an interval.

Where a process's memory lies makes it a few percent faster or slower for all of its life, so blocks of one process are no
independent samples of an implementation: processes are. Rounds are grouped by the pair of processes that ran them.

Where each process belongs to one pair, and there are several pairs, these are independent samples of the ratio. Its value is Huber's
estimate of location over all blocks, which blocks that something slowed down move little; its variance is that of the pairs' sums of
scores (a sandwich over clusters: Liang and Zeger 1986, "Longitudinal data analysis using generalized linear models"), and the interval
is Student's for so many pairs. It counts no less than the noise of single blocks leaves open: few pairs agree by chance now and then.

Where pairs are few, or share processes, the value is the mean of their places, each the mean of its blocks with Huber's weights, whose
noise a stratified bootstrap tells. What processes alike differ by is a variance of its own, which counts once for each process of
either side, beside the noise. A sample that hardly tells it, or finds it small, is held to what is usual with the weight of some
degrees of freedom (the posterior variance of Smyth, "Linear models and empirical Bayes methods", 2004). Degrees of freedom of the sum
by Satterthwaite's formula.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from evaluators.robust import CORNER, huber
from evaluators.stopping import Taken
from kernelevolve.core.evaluation import Measurement, Ratio

_RESAMPLES = 1000
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 1.960)
"""Two-sided 95% quantiles of Student's t for 1 degree of freedom, 2, ..., and without end."""
_CONFIDENCE = 0.95
_SURE = (318.31, 22.327, 10.215, 7.173, 5.893, 5.208, 4.785, 4.501, 4.297, 4.144, 3.090)
"""The same at 99.8%:"""
_SURE_CONFIDENCE = 0.998
"""of what a machine that is never left alone tells, one interval in twenty is too many to be wrong."""
_USUAL = 0.02
"""Standard deviation between processes alike, as a share of the time,"""
_USUAL_FREEDOM = 4
"""and how much that counts: as a sample of so many more."""
_FEW = 3
"""Pairs that are too few to tell it."""
_ENOUGH = 12
"""Rounds that tell a ratio without those that others disturbed."""
_BLOCK = 0.2
"""Standard deviation of a block that is assumed where there is one alone."""


def ratio_of(reference: Sequence[Taken], kernel: Sequence[Taken], seed: int, *, sure: bool = False) -> Ratio:
    """Seconds of the reference / seconds of the kernel, round by round. `seed`: of the bootstrap; `sure`: at 99.8% instead of 95%.

    Rounds in which others disturbed one of the two count only where there are hardly any others. What others took is then taken off
    the reference's time alone for the value and the lower end, and off the kernel's alone for the upper end: a kernel that has its
    own threads wait gains nothing, and neither end rests on how well the loss is known.
    """
    rounds = _undisturbed(reference, kernel)
    found = _ratio(rounds, [math.log(a.alone / b.seconds) for a, b in rounds], seed, sure=sure)
    if any(a.disturbed or b.disturbed for a, b in rounds):
        most = _ratio(rounds, [math.log(a.seconds / b.alone) for a, b in rounds], seed, sure=sure)
        return found.model_copy(update={"high": max(found.high, most.high)})
    return found


def _ratio(rounds: Sequence[tuple[Taken, Taken]], logs: Sequence[float], seed: int, *, sure: bool) -> Ratio:
    """`logs`: of the ratio in each round."""
    pairs: dict[tuple[int, int], list[float]] = defaultdict(list)
    for (a, b), log in zip(rounds, logs, strict=True):
        pairs[a.process, b.process].append(log)
    groups = [np.array(values) for values in pairs.values()]
    if len(rounds) < 2 * len(groups):
        groups = [np.concatenate(groups)]
    counts = len({a for a, _ in pairs}), len({b for _, b in pairs})
    if len(groups) >= _FEW and counts == (len(groups), len(groups)):
        middle, deviation, freedom = _of_clusters(groups)
    else:
        middle, deviation, freedom = _of_few(groups, counts, seed)
    half = deviation * _student(freedom, _SURE if sure else _STUDENT)
    return Ratio(
        value=math.exp(middle),
        low=math.exp(middle - half),
        high=math.exp(middle + half),
        confidence=_SURE_CONFIDENCE if sure else _CONFIDENCE,
    )


def _of_clusters(groups: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """(middle, its standard deviation, degrees of freedom) where each group is an independent sample."""
    values = np.concatenate(groups)
    middle, scale = huber(values)
    curvature = max(1, int((np.abs(values - middle) <= CORNER * scale).sum()))
    scores = [np.clip(logs - middle, -CORNER * scale, CORNER * scale) for logs in groups]
    # Scores of few clusters at an estimate that they have made themselves are too small (MacKinnon and White 1985, HC3).
    between = sum(float(score.sum()) ** 2 for score in scores) * (len(groups) / (len(groups) - 1)) ** 2
    within = float((np.concatenate(scores) ** 2).sum()) * len(values) / (len(values) - 1)
    return middle, math.sqrt(max(between, within)) / curvature, len(groups) - 1.0


def _of_few(groups: Sequence[np.ndarray], counts: tuple[int, int], seed: int) -> tuple[float, float, float]:
    """(middle, its standard deviation, degrees of freedom) of few groups, or of groups that share processes.

    `counts`: processes of both sides.
    """
    weights = _weights(groups)
    places = np.array([np.average(logs, weights=weight) for logs, weight in zip(groups, weights, strict=True)])
    noise = _noise(groups, weights, places, seed)
    between, between_freedom = _between(places, noise, sum(count > 1 for count in counts))
    placement = between * sum(1 / count for count in counts)
    variance = noise + placement
    noise_freedom = max(1, sum(map(len, groups)) - len(groups))
    freedom = variance**2 / (noise**2 / noise_freedom + placement**2 / between_freedom)
    return float(places.mean()), math.sqrt(variance), freedom


def _weights(groups: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What each block counts, at most 1: Huber's weights at the location of all blocks together.

    A group of two or three blocks cannot tell which of them was slowed down; all of them can.
    """
    middle, scale = huber(np.concatenate(groups))
    return [np.minimum(1.0, CORNER * scale / np.maximum(np.abs(logs - middle), 1e-300)) for logs in groups]


def _noise(groups: Sequence[np.ndarray], weights: Sequence[np.ndarray], places: np.ndarray, seed: int) -> float:
    """Variance of the mean of the groups' places that comes from the scatter within groups."""
    total = sum(map(len, groups))
    if total == 1:
        return _BLOCK**2
    weight = np.concatenate(weights)
    scores = np.concatenate([w * (logs - place) for logs, w, place in zip(groups, weights, places, strict=True)])
    picks = np.random.default_rng(seed).integers(0, total, size=(_RESAMPLES, total))
    means = scores[picks].sum(axis=1) / weight[picks].sum(axis=1)
    # Each group's place was taken from its own values, which makes what is left too small.
    return float(means.var()) * total / (total - len(groups))


def _between(places: np.ndarray, noise: float, sides: int) -> tuple[float, float]:
    """(variance between processes alike, its degrees of freedom). `sides`: on how many the places have several processes."""
    freedom = len(places) - 1.0
    found = max(0.0, float(places.var(ddof=1)) - noise * len(places)) / max(1, sides) if freedom else 0.0
    if len(places) >= _FEW and found > _USUAL**2:
        return found, freedom
    total = _USUAL_FREEDOM + freedom
    return (_USUAL_FREEDOM * _USUAL**2 + freedom * found) / total, total


def _student(freedom: float, quantiles: Sequence[float]) -> float:
    """The quantile for so many degrees of freedom, between those of the table by their reciprocals."""
    told = [1 / (place + 1) for place in range(len(quantiles) - 1)] + [0.0]
    return float(np.interp(1 / max(1.0, freedom), told[::-1], quantiles[::-1]))


def claimed(
    reference: Sequence[Taken], kernel: Sequence[Taken], seed: int, *, cautious: bool, loud: bool = False
) -> Ratio:
    """The ratio, no further from 1 than is sure where `measurement` says so."""
    ratio = ratio_of(reference, kernel, seed, sure=cautious and loud)
    disturbed = any(a.disturbed or b.disturbed for a, b in _undisturbed(reference, kernel))
    return _cautious(ratio) if cautious and (disturbed or loud) else ratio


def measurement(
    reference: Sequence[Taken], kernel: Sequence[Taken], seed: int, *, cautious: bool, loud: bool = False
) -> Measurement:
    """Of the rounds that there are. `cautious`: where it has to count rounds that others disturbed, or the machine was `loud` all the
    while, it claims no more than is sure."""
    rounds = _undisturbed(reference, kernel)
    disturbed = sum(a.disturbed or b.disturbed for a, b in rounds)
    return Measurement(
        speedup=claimed(reference, kernel, seed, cautious=cautious, loud=loud),
        reference_seconds=float(np.median([a.alone for a, _ in rounds])),
        kernel_seconds=float(np.median([b.seconds for _, b in rounds])),
        rounds=len(rounds),
        disturbed_rounds=disturbed,
    )


def _undisturbed(reference: Sequence[Taken], kernel: Sequence[Taken]) -> list[tuple[Taken, Taken]]:
    """The rounds in which nobody disturbed either; all of them where these are too few."""
    rounds = list(zip(reference, kernel, strict=True))
    left = [(a, b) for a, b in rounds if not (a.disturbed or b.disturbed)]
    return left if len(left) >= _ENOUGH else rounds


def _cautious(ratio: Ratio) -> Ratio:
    """With the value of its interval that is nearest to 1."""
    return ratio.model_copy(update={"value": min(max(1.0, ratio.low), ratio.high)})
