"""One-sided estimation of the time of an implementation from blocks of which other programs disturbed some.

Other programs make a block longer, never shorter, so the lower end of the measured times is the undisturbed time (Chen and Revels 2016,
"Robust benchmarking in noisy environments", use the minimum). Blocks of the reference and of a kernel need not be of the same round. The
estimate uses the lower half of the blocks that are known to be undisturbed, or a smaller part if that half is widely spread. The minimum
would rest on a single block and would depend on the number of blocks. If too few blocks are undisturbed, all are used, less the time that
they lost, which widens the interval accordingly.

The placement of a process's memory makes it faster or slower for all of its life, so each process has a location of its own, and the
location of the implementation is Huber's estimate over its processes. Its variance has three parts: the noise of blocks, the difference
between processes of one implementation (as in `statistics.py`), and the smear, which is the distance between the lower half of the used
blocks and all of them. If the smear is large, it is uncertain whether the lower end has been reached.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.runtime.base import Noise
from evaluators.timing.blocks import BlockTime
from evaluators.timing.robust import CORNER

USUAL = 0.02
"""The prior standard deviation between processes of one implementation, as a share of the time."""
USUAL_FREEDOM = 4
"""The degrees of freedom with which the prior standard deviation counts."""
_ENOUGH = 8
"""The least number of blocks of an implementation at a noise level for using only those."""
_EACH = 5
"""The least mean number of blocks per process for treating the processes separately. With fewer, noise exceeds their differences."""
_SHARES = (0.5, 0.25, 0.12)
"""The shares of the lowest blocks that are tried in turn, until the smear is small enough."""
_SHARP = 0.03
"""The smear below which no smaller share is tried."""
_FEWEST = 8
"""The number of used blocks below which no smaller share is tried."""
_SMEAR = 1.0
"""The weight of the smear in the standard deviation."""
_UNKNOWN = 0.05
"""The standard deviation that is added if too few blocks were undisturbed."""
_EFFICIENCY = 0.5
"""The variance of the mean divided by that of the mean of the lower half, for normal noise."""
_BLOCK = 0.2
"""The standard deviation of a block that is assumed if there is only one."""
_FINEST = 1e-4
"""The least standard deviation of a block: a clock's steps can make blocks equal that were not."""
_STEPS = 20
"""The most iterations of Huber's estimate."""


@dataclass(frozen=True)
class Location:
    """The estimated location of the logarithm of an implementation's time."""

    log: float
    """The logarithm of the seconds per call."""
    noise: float
    """The part of its variance that more blocks would reduce."""
    variance: float
    """The variance, including the difference between processes of one implementation."""
    freedom: float
    """The degrees of freedom of the variance."""
    blocks: int
    """The number of blocks at the chosen noise level."""
    smear: float
    """The distance between the mean of the lower half of the used blocks and the mean of all of them."""


def locations(reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> tuple[Location, Location]:
    """Return the locations of the reference and the kernel, from blocks of the best noise level of which both have enough."""
    sides = reference, kernel
    most = next(
        (g for g in (Noise.QUIET, Noise.SHARED) if all(_count(side, g) >= _ENOUGH for side in sides)), Noise.NOISY
    )
    for share in _SHARES:
        first, second = (_location(side, most, share) for side in sides)
        if max(first.smear, second.smear) < _SHARP or min(first.blocks, second.blocks) * share < _FEWEST:
            break
    return first, second


def _count(blocks: Sequence[BlockTime], most: Noise) -> int:
    return sum(block.noise <= most for block in blocks)


def _location(blocks: Sequence[BlockTime], most: Noise, share: float) -> Location:
    by_process: dict[int, list[float]] = defaultdict(list)
    for block in blocks:
        if block.noise <= most:
            by_process[block.process].append(math.log(block.alone if most is Noise.NOISY else block.seconds))
    groups = [np.array(logs) for logs in by_process.values()]
    processes, count = len(groups), sum(map(len, groups))
    if count < _EACH * processes:
        groups = [np.concatenate(groups)]
    groups = [np.sort(logs) for logs in groups]
    lows = np.array([_low(logs, share) for logs in groups])
    left = np.sort(np.concatenate([logs - low for logs, low in zip(groups, lows, strict=True)]))
    lower = left[: _part(count, share)]
    scale = max(_FINEST, 2 * float(np.sqrt(np.mean(lower**2)))) if count > len(groups) else _BLOCK
    noise = scale**2 / (_EFFICIENCY * np.array([len(logs) for logs in groups], dtype=float))
    between, freedom = _between(lows, noise)
    smear = _low(left, share) - _low(left, share / 2)
    blocks_noise = float(noise.mean()) / len(groups) + (_SMEAR * smear) ** 2
    if most is Noise.NOISY:
        blocks_noise += _UNKNOWN**2 + _taken_off(blocks, share) ** 2
    middle = _huber(lows, np.sqrt(USUAL**2 + noise))
    return Location(middle, blocks_noise, blocks_noise + between / processes, freedom, count, smear)


def _taken_off(blocks: Sequence[BlockTime], share: float) -> float:
    """Return the mean correction, in logarithms, that was applied to the lowest blocks for the time that they lost."""
    lowest = sorted(blocks, key=lambda block: block.alone)[: _part(len(blocks), share)]
    return float(np.mean([math.log(block.seconds / block.alone) for block in lowest]))


def _part(count: int, share: float) -> int:
    """Return the number of values in the lower share of `count` sorted values; at least 1."""
    return max(1, math.ceil(share * count))


def _low(logs: np.ndarray, share: float) -> float:
    """Return the mean of the lower share of sorted values."""
    return float(logs[: _part(len(logs), share)].mean())


def _between(lows: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """Return the variance between processes of one implementation, and its degrees of freedom."""
    freedom = len(lows) - 1.0
    found = max(0.0, float(lows.var(ddof=1)) - float(noise.mean())) if freedom else 0.0
    total = USUAL_FREEDOM + freedom
    return (USUAL_FREEDOM * USUAL**2 + freedom * found) / total, total


def _huber(lows: np.ndarray, scales: np.ndarray) -> float:
    """Return Huber's location of the processes' locations, which a process that was always slowed down moves little."""
    middle = float(np.median(lows))
    weights = 1 / scales**2
    for _ in range(_STEPS):
        distance = np.maximum(np.abs(lows - middle), 1e-12)
        weight = weights * np.minimum(1.0, CORNER * scales / distance)
        step = float((weight * lows).sum() / weight.sum()) - middle
        middle += step
        if abs(step) < 1e-7:
            break
    return middle
