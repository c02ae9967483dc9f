"""From times to a ratio with an interval.

Where a process's memory lies makes it a few percent faster or slower for all of its life, so blocks of one process are no
independent samples of an implementation. Rounds are grouped by the pair of processes that ran them; the interval rests on how far
the medians of the groups lie apart (Student's t), and counts the spread among processes once more for an implementation of which
fewer processes were measured. One group alone gives the interval of its median (percentile bootstrap).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from evaluators.stopping import Taken
from kernelevolve.core.evaluation import Measurement, Ratio

_RESAMPLES = 1000
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Two-sided 95% quantiles of Student's t for 1 degree of freedom, 2, ...; more are taken as the last."""
_CONFIDENCE = 0.95


def ratio_of(reference: Sequence[Taken], kernel: Sequence[Taken], seed: int) -> Ratio:
    """Seconds of the reference / seconds of the kernel, round by round. `seed`: of the bootstrap."""
    groups: dict[tuple[int, int], list[float]] = defaultdict(list)
    for a, b in zip(reference, kernel, strict=True):
        groups[a.process, b.process].append(math.log(a.seconds / b.seconds))
    medians = np.array([np.median(logs) for logs in groups.values()])
    middle = float(medians.mean())
    low, high = _bootstrap(np.concatenate([np.array(logs) - np.median(logs) for logs in groups.values()]), seed)
    half_low, half_high = -low, high
    if len(medians) > 1:
        processes = len({a for a, _ in groups}), len({b for _, b in groups})
        unseen = sum(1 / count for count in processes if count < len(medians))
        variance = float(medians.var(ddof=1)) * (1 / len(medians) + unseen)
        half = _STUDENT[min(len(medians) - 1, len(_STUDENT)) - 1] * math.sqrt(variance)
        half_low, half_high = max(half, half_low), max(half, half_high)
    return Ratio(
        value=math.exp(middle),
        low=math.exp(middle - max(half_low, 0.0)),
        high=math.exp(middle + max(half_high, 0.0)),
        confidence=_CONFIDENCE,
    )


def _bootstrap(logs: np.ndarray, seed: int) -> tuple[float, float]:
    """Interval of the median."""
    picks = np.random.default_rng(seed).integers(0, len(logs), size=(_RESAMPLES, len(logs)))
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(np.median(logs[picks], axis=1), [tail, 1 - tail])
    return float(low), float(high)


def measurement(reference: Sequence[Taken], kernel: Sequence[Taken], seed: int) -> Measurement:
    return Measurement(
        speedup=ratio_of(reference, kernel, seed),
        reference_seconds=float(np.median([t.seconds for t in reference])),
        kernel_seconds=float(np.median([t.seconds for t in kernel])),
        rounds=len(kernel),
    )
