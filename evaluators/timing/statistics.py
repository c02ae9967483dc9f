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

All of that is for rounds in which nobody disturbed either side. Where too many were disturbed, rounds are given up: each side's place is
told by the blocks that were left alone, wherever they come (`one_sided.py`). What others do to caches and memory is not seen; where
somebody was there it is a variance of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from evaluators.runtime.base import Noise
from evaluators.timing.blocks import BlockTime, left_alone
from evaluators.timing.one_sided import USUAL, USUAL_FREEDOM, places
from evaluators.timing.robust import CORNER, huber
from kernelevolve.core.evaluation import Measurement, Ratio

_RESAMPLES = 1000
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 1.960)
"""Two-sided 95% quantiles of Student's t for 1 degree of freedom, 2, ..., and without end."""
_CONFIDENCE = 0.95
_FEW = 3
"""Pairs that are too few to tell it."""
_MOST_WIDE = 1.5
"""Upper end of an interval / its lower end, above which the ratio is not told,"""
_MOST_WIDE_DISTURBED = 1.3
"""and where it rests on single blocks: what is not seen of others' work moves their places to one side."""
_WIDEST = 50.0
"""Half-width of the logarithm of a ratio that floats can hold."""
_LOW = 0.25
"""Quantile of blocks that a guess goes by,"""
_DOUBT = 2.0
"""and the number of blocks that halve what it says."""
_BLOCK = 0.2
"""Standard deviation of a block that is assumed where there is one alone."""
_LEAST_VARIANCE = 1e-12
_COMPANY = 0.02
"""Standard deviation of what others do to a ratio without taking a core from either side: they share caches and memory,"""
_COMPANY_SHARE = 0.1
"""which counts where more than this share of the blocks was not alone."""


def ratio_of(reference: Sequence[BlockTime], kernel: Sequence[BlockTime], seed: int) -> Ratio:
    """Seconds of the reference / seconds of the kernel, of the rounds that both have taken. `seed`: of the bootstrap."""
    rounds = left_alone(reference, kernel)
    middle, variance, freedom = _of_places(reference, kernel) if rounds is None else _of_rounds(rounds, seed)
    beside = sum(block.noise is not Noise.QUIET for block in (*reference, *kernel))
    if beside > _COMPANY_SHARE * (len(reference) + len(kernel)):
        # Known beforehand, so that it has all degrees of freedom that there are.
        alone, variance = variance, variance + _COMPANY**2
        freedom *= (variance / max(alone, _LEAST_VARIANCE)) ** 2
    return _ratio(middle, variance, freedom)


def _of_places(reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> tuple[float, float, float]:
    """(middle of the logarithm, its variance, degrees of freedom)"""
    first, second = places(reference, kernel)
    variance = first.variance + second.variance
    freedom = variance**2 / (first.variance**2 / first.freedom + second.variance**2 / second.freedom)
    return first.log - second.log, variance, freedom


def _of_rounds(rounds: Sequence[tuple[BlockTime, BlockTime]], seed: int) -> tuple[float, float, float]:
    """As `_of_places`."""
    pairs: dict[tuple[int, int], list[float]] = defaultdict(list)
    for a, b in rounds:
        pairs[a.process, b.process].append(math.log(a.seconds / b.seconds))
    groups = [np.array(values) for values in pairs.values()]
    if len(rounds) < 2 * len(groups):
        groups = [np.concatenate(groups)]
    counts = len({a for a, _ in pairs}), len({b for _, b in pairs})
    if len(groups) >= _FEW and counts == (len(groups), len(groups)):
        return _of_clusters(groups)
    return _of_few(groups, counts, seed)


def _ratio(middle: float, variance: float, freedom: float) -> Ratio:
    """With that logarithm, and its variance."""
    half = min(math.sqrt(variance) * _student(freedom), _WIDEST)
    return Ratio(
        value=math.exp(middle), low=math.exp(middle - half), high=math.exp(middle + half), confidence=_CONFIDENCE
    )


def _of_clusters(groups: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """(middle, its variance, degrees of freedom) where each group is an independent sample."""
    values = np.concatenate(groups)
    middle, scale = huber(values)
    curvature = max(1, int((np.abs(values - middle) <= CORNER * scale).sum()))
    scores = [np.clip(logs - middle, -CORNER * scale, CORNER * scale) for logs in groups]
    # Scores of few clusters at an estimate that they have made themselves are too small (MacKinnon and White 1985, HC3).
    between = sum(float(score.sum()) ** 2 for score in scores) * (len(groups) / (len(groups) - 1)) ** 2
    within = float((np.concatenate(scores) ** 2).sum()) * len(values) / (len(values) - 1)
    return middle, max(between, within) / curvature**2, len(groups) - 1.0


def _of_few(groups: Sequence[np.ndarray], counts: tuple[int, int], seed: int) -> tuple[float, float, float]:
    """(middle, its variance, degrees of freedom) of few groups, or of groups that share processes.

    `counts`: processes of both sides.
    """
    weights = _weights(groups)
    middles = np.array([np.average(logs, weights=weight) for logs, weight in zip(groups, weights, strict=True)])
    noise = _noise(groups, weights, middles, seed)
    between, between_freedom = _between(middles, noise, sum(count > 1 for count in counts))
    placement = between * sum(1 / count for count in counts)
    variance = noise + placement
    noise_freedom = max(1, sum(map(len, groups)) - len(groups))
    freedom = variance**2 / (noise**2 / noise_freedom + placement**2 / between_freedom)
    return float(middles.mean()), variance, freedom


def _weights(groups: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What each block counts, at most 1: Huber's weights at the location of all blocks together.

    A group of two or three blocks cannot tell which of them was slowed down; all of them can.
    """
    middle, scale = huber(np.concatenate(groups))
    return [np.minimum(1.0, CORNER * scale / np.maximum(np.abs(logs - middle), 1e-300)) for logs in groups]


def _noise(groups: Sequence[np.ndarray], weights: Sequence[np.ndarray], middles: np.ndarray, seed: int) -> float:
    """Variance of the mean of the groups' places that comes from the scatter within groups."""
    total = sum(map(len, groups))
    if total == 1:
        return _BLOCK**2
    weight = np.concatenate(weights)
    scores = np.concatenate([w * (logs - place) for logs, w, place in zip(groups, weights, middles, strict=True)])
    picks = np.random.default_rng(seed).integers(0, total, size=(_RESAMPLES, total))
    means = scores[picks].sum(axis=1) / weight[picks].sum(axis=1)
    # Each group's place was taken from its own values, which makes what is left too small.
    return float(means.var()) * total / (total - len(groups))


def _between(middles: np.ndarray, noise: float, sides: int) -> tuple[float, float]:
    """(variance between processes alike, its degrees of freedom). `sides`: on how many the middles have several processes."""
    freedom = len(middles) - 1.0
    found = max(0.0, float(middles.var(ddof=1)) - noise * len(middles)) / max(1, sides) if freedom else 0.0
    if len(middles) >= _FEW and found > USUAL**2:
        return found, freedom
    total = USUAL_FREEDOM + freedom
    return (USUAL_FREEDOM * USUAL**2 + freedom * found) / total, total


def _student(freedom: float) -> float:
    """The quantile for so many degrees of freedom, between those of the table by their reciprocals."""
    told = [1 / (place + 1) for place in range(len(_STUDENT) - 1)] + [0.0]
    return float(np.interp(1 / max(1.0, freedom), told[::-1], _STUDENT[::-1]))


def measurement(
    reference: Sequence[BlockTime],
    kernel: Sequence[BlockTime],
    seed: int,
    why_not: str,
    known: Sequence[BlockTime] = (),
) -> Measurement:
    """What blocks tell of a kernel.

    `why_not`: in words, why they may tell too little. `known`: undisturbed blocks of the reference from earlier measurements, for a
    guess where they do. `seed`: of the bootstrap.
    """
    ratio = ratio_of(reference, kernel, seed)
    told = is_telling(ratio, reference, kernel)
    return Measurement(
        speedup=ratio if told else None,
        not_measured="" if told else why_not,
        rough_speedup=None if told else _rough(reference, kernel, known),
        reference_seconds=_seconds(reference),
        kernel_seconds=_seconds(kernel),
        rounds=len(kernel),
        disturbed_rounds=sum(a.disturbed or b.disturbed for a, b in zip(reference, kernel, strict=True)),
    )


def _rough(reference: Sequence[BlockTime], kernel: Sequence[BlockTime], known: Sequence[BlockTime]) -> float:
    """A ratio to rank by: of what each side takes without its waiting, the median of the lower half; the nearer to 1 the less is known."""
    sides = [block.alone for block in (known or reference)], [block.alone for block in kernel]
    logs = [float(np.quantile(np.log(seconds), _LOW)) for seconds in sides]
    trust = [len(seconds) / (len(seconds) + _DOUBT) for seconds in sides]
    return math.exp((logs[0] - logs[1]) * min(trust))


def told_or_not(measured: Measurement, why_not: str) -> Measurement:
    """The same without its speedup where the interval of that is too wide to be told. `why_not`: in words."""
    ratio = measured.speedup
    if ratio is None or ratio.high <= _MOST_WIDE * ratio.low:
        return measured
    return measured.model_copy(update={"speedup": None, "not_measured": why_not, "rough_speedup": ratio.value})


def is_telling(ratio: Ratio, reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> bool:
    """Whether the interval of these blocks' ratio is narrow enough for it to be told."""
    most = _MOST_WIDE_DISTURBED if left_alone(reference, kernel) is None else _MOST_WIDE
    return ratio.high <= most * ratio.low


def _seconds(blocks: Sequence[BlockTime]) -> float:
    """Of a call: the median over blocks that nobody disturbed, over all where there are none."""
    return float(np.median([block.seconds for block in blocks if not block.disturbed] or [b.seconds for b in blocks]))
