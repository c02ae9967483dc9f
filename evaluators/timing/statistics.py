"""Estimation of a speedup and its confidence interval from block times.

The placement of a process's memory makes it a few percent faster or slower for all of its life. Blocks of one process are therefore not
independent samples of an implementation; processes are. Rounds are grouped by the pair of processes that ran them.

If each process belongs to one pair, and there are several pairs, the pairs are independent samples of the ratio. Its value is Huber's
estimate of location over all blocks, which outliers move little. Its variance is that of the pairs' sums of scores (a sandwich estimate
over clusters: Liang and Zeger 1986, "Longitudinal data analysis using generalized linear models"), and the interval is Student's for that
number of pairs. The variance is at least that of the noise of single blocks, since a few pairs can agree by chance.

If there are few pairs, or they share processes, the value is the mean of the pairs' locations. Each location is the mean of its blocks
with Huber's weights, and its noise is found by a bootstrap. The variance between processes of one implementation is added
once for each process of either side. If the sample hardly determines that variance, or it is small, it is combined with a prior of some
degrees of freedom (the posterior variance of Smyth 2004, "Linear models and empirical Bayes methods"). The degrees of freedom of the sum
follow from Satterthwaite's formula.

This applies to rounds in which neither side was disturbed. If too many rounds were disturbed, they are not paired: each side's location is
estimated from its undisturbed blocks (`one_sided.py`). The influence of other programs on caches and memory cannot be observed, so if
other programs ran, a further variance is added.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from evaluators.runtime.base import Noise
from evaluators.timing.blocks import BlockTime, undisturbed_rounds
from evaluators.timing.one_sided import USUAL, USUAL_FREEDOM, locations
from evaluators.timing.robust import CORNER, huber
from kernelevolve.core.evaluation import Measurement, Ratio

_RESAMPLES = 1000
"""The number of resamples of the bootstrap."""
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 1.960)
"""The two-sided 95% quantiles of Student's t for 1, 2, ... degrees of freedom, and at last for infinitely many."""
_CONFIDENCE = 0.95
"""The confidence level of intervals."""
_FEW = 3
"""The least number of pairs that count as independent samples."""
_MAX_WIDTH = 1.5
"""The largest ratio of an interval's upper to its lower end with which a speedup is reported."""
_MAX_WIDTH_DISTURBED = 1.3
"""The same limit for speedups from unpaired blocks. It is lower, since unobserved influence can bias one side."""
_WIDEST = 50.0
"""The largest half-width of the logarithm of a ratio, which floats can represent."""
_LOW = 0.25
"""The quantile of the blocks that a rough speedup uses."""
_DOUBT = 2.0
"""The number of blocks with which a rough speedup's logarithm is halved."""
_BLOCK = 0.2
"""The standard deviation of a block that is assumed if there is only one."""
_LEAST_VARIANCE = 1e-12
_COMPANY = 0.02
"""The standard deviation of the influence of other programs on a ratio through shared caches and memory."""
_COMPANY_LEAN = 0.05
"""The standard deviation of the time that this influence adds to the blocks of both sides, as a share of the faster side's."""
_COMPANY_SHARE = 0.1
"""The share of blocks that were not quiet above which that influence counts."""


def ratio_of(reference: Sequence[BlockTime], kernel: Sequence[BlockTime], seed: int) -> Ratio:
    """Estimate the ratio of the reference's seconds to the kernel's.

    Args:
        reference: The blocks of the reference, one per round.
        kernel: The blocks of the kernel, one per round.
        seed: The seed of the bootstrap.
    """
    rounds = undisturbed_rounds(reference, kernel)
    middle, variance, freedom = _of_locations(reference, kernel) if rounds is None else _of_rounds(rounds, seed)
    # This variance is known beforehand, so it has infinitely many degrees of freedom.
    scattered, variance = variance, variance + _systematic(middle, reference, kernel)
    freedom *= (variance / max(scattered, _LEAST_VARIANCE)) ** 2
    return _ratio(middle, variance, freedom)


def _systematic(middle: float, reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> float:
    """Return the variance of a ratio's logarithm due to influences that lengthen all blocks, and so do not show in their scatter.

    They are the start of a block and, if there was company, the loss of shared caches and memory. What lengthens the blocks of both sides
    equally moves a ratio towards 1, and the more the further away it is.
    """
    first, second = (
        float(np.mean([block.start_error / block.seconds for block in side])) for side in (reference, kernel)
    )
    found = (first - second) ** 2
    beside = sum(block.noise is not Noise.QUIET for block in (*reference, *kernel))
    if beside > _COMPANY_SHARE * (len(reference) + len(kernel)):
        found += _COMPANY**2 + (_COMPANY_LEAN * (1 - math.exp(-abs(middle)))) ** 2
    return found


def _of_locations(reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> tuple[float, float, float]:
    """Return the location of the logarithm, its variance and its degrees of freedom, from unpaired blocks."""
    first, second = locations(reference, kernel)
    variance = first.variance + second.variance
    freedom = variance**2 / (first.variance**2 / first.freedom + second.variance**2 / second.freedom)
    return first.log - second.log, variance, freedom


def _of_rounds(rounds: Sequence[tuple[BlockTime, BlockTime]], seed: int) -> tuple[float, float, float]:
    """Return the location of the logarithm, its variance and its degrees of freedom, from rounds."""
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
    """Return the ratio whose logarithm has this location, variance and degrees of freedom."""
    half = min(math.sqrt(variance) * _student(freedom), _WIDEST)
    return Ratio(
        value=math.exp(middle), low=math.exp(middle - half), high=math.exp(middle + half), confidence=_CONFIDENCE
    )


def _of_clusters(groups: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Return the location, its variance and its degrees of freedom if each group is an independent sample."""
    values = np.concatenate(groups)
    middle, scale = huber(values)
    curvature = max(1, int((np.abs(values - middle) <= CORNER * scale).sum()))
    scores = [np.clip(logs - middle, -CORNER * scale, CORNER * scale) for logs in groups]
    # The scores of few clusters are too small at an estimate from the same clusters (MacKinnon and White 1985, HC3).
    between = sum(float(score.sum()) ** 2 for score in scores) * (len(groups) / (len(groups) - 1)) ** 2
    within = float((np.concatenate(scores) ** 2).sum()) * len(values) / (len(values) - 1)
    return middle, max(between, within) / curvature**2, len(groups) - 1.0


def _of_few(groups: Sequence[np.ndarray], counts: tuple[int, int], seed: int) -> tuple[float, float, float]:
    """Return the location, its variance and its degrees of freedom, from few groups or from groups that share processes.

    `counts` holds the number of processes of each side.
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
    """Return Huber's weight of each block, at most 1, at the location of all blocks together.

    A group of two or three blocks alone does not show which of them was slowed down.
    """
    middle, scale = huber(np.concatenate(groups))
    return [np.minimum(1.0, CORNER * scale / np.maximum(np.abs(logs - middle), 1e-300)) for logs in groups]


def _noise(groups: Sequence[np.ndarray], weights: Sequence[np.ndarray], middles: np.ndarray, seed: int) -> float:
    """Return the variance of the mean of the groups' locations due to the scatter within groups, by a bootstrap."""
    total = sum(map(len, groups))
    if total == 1:
        return _BLOCK**2
    weight = np.concatenate(weights)
    scores = np.concatenate([w * (logs - place) for logs, w, place in zip(groups, weights, middles, strict=True)])
    picks = np.random.default_rng(seed).integers(0, total, size=(_RESAMPLES, total))
    means = scores[picks].sum(axis=1) / weight[picks].sum(axis=1)
    # Each group's location was estimated from its own values, which makes the residuals too small.
    return float(means.var()) * total / (total - len(groups))


def _between(middles: np.ndarray, noise: float, sides: int) -> tuple[float, float]:
    """Return the variance between processes of one implementation, and its degrees of freedom.

    `sides` is the number of sides on which the groups have several processes.
    """
    freedom = len(middles) - 1.0
    found = max(0.0, float(middles.var(ddof=1)) - noise * len(middles)) / max(1, sides) if freedom else 0.0
    if len(middles) >= _FEW and found > USUAL**2:
        return found, freedom
    total = USUAL_FREEDOM + freedom
    return (USUAL_FREEDOM * USUAL**2 + freedom * found) / total, total


def _student(freedom: float) -> float:
    """Return the quantile for some degrees of freedom, interpolated in the table by their reciprocals."""
    reciprocals = [1 / (place + 1) for place in range(len(_STUDENT) - 1)] + [0.0]
    return float(np.interp(1 / max(1.0, freedom), reciprocals[::-1], _STUDENT[::-1]))


def measurement(
    reference: Sequence[BlockTime],
    kernel: Sequence[BlockTime],
    seed: int,
    why_not: str,
    known: Sequence[BlockTime] = (),
) -> Measurement:
    """Return the measurement of a kernel from block times.

    Args:
        reference: The blocks of the reference, one per round.
        kernel: The blocks of the kernel, one per round.
        seed: The seed of the bootstrap.
        why_not: The text that is recorded if the interval is too wide to report a speedup.
        known: Undisturbed blocks of the reference from earlier measurements, for a rough speedup in that case.
    """
    ratio = ratio_of(reference, kernel, seed)
    precise = is_precise(ratio, reference, kernel)
    return Measurement(
        speedup=ratio if precise else None,
        not_measured="" if precise else why_not,
        rough_speedup=None if precise else _rough(reference, kernel, known),
        reference_seconds=_seconds(reference),
        kernel_seconds=_seconds(kernel),
        rounds=len(kernel),
        disturbed_rounds=sum(a.disturbed or b.disturbed for a, b in zip(reference, kernel, strict=True)),
    )


def _rough(reference: Sequence[BlockTime], kernel: Sequence[BlockTime], known: Sequence[BlockTime]) -> float:
    """Return a ratio for ranking: that of the lower quartiles without lost time, moved toward 1 if there are few blocks."""
    sides = [block.alone for block in (known or reference)], [block.alone for block in kernel]
    logs = [float(np.quantile(np.log(seconds), _LOW)) for seconds in sides]
    trust = [len(seconds) / (len(seconds) + _DOUBT) for seconds in sides]
    return math.exp((logs[0] - logs[1]) * min(trust))


def drop_imprecise_speedup(measured: Measurement, why_not: str) -> Measurement:
    """Return a measurement with its speedup moved to `rough_speedup` if its interval is too wide. `why_not` is the recorded reason."""
    ratio = measured.speedup
    if ratio is None or ratio.high <= _MAX_WIDTH * ratio.low:
        return measured
    return measured.model_copy(update={"speedup": None, "not_measured": why_not, "rough_speedup": ratio.value})


def is_precise(ratio: Ratio, reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> bool:
    """Return whether the interval of the ratio of these blocks is narrow enough for it to be reported."""
    most = _MAX_WIDTH_DISTURBED if undisturbed_rounds(reference, kernel) is None else _MAX_WIDTH
    return ratio.high <= most * ratio.low


def _seconds(blocks: Sequence[BlockTime]) -> float:
    """Return the median of the seconds per call over undisturbed blocks, or over all blocks if there are none."""
    return float(np.median([block.seconds for block in blocks if not block.disturbed] or [b.seconds for b in blocks]))
