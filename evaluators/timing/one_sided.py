"""Where blocks of an implementation lie when others leave it alone, told by blocks of which others have disturbed some.

What others do makes a block longer, never shorter, so the lower end of what was measured is where nobody disturbed it (Chen and Revels
2016, "Robust benchmarking in noisy environments", take the minimum). Blocks of the reference and of a kernel need not be of the same
round. Of blocks that are known to have been left alone the lower half counts, a smaller part where that half is smeared; the minimum
alone would rest on one block, and on how many there are. Where too few were left alone all count, less what they lost, which makes the
interval wider by as much.

A process's memory makes it faster or slower for all of its life, so each process has a place, and the implementation's is the middle of
those (Huber's, with what is usual as scale). Its variance has three parts: the noise of blocks, what processes alike differ by (as
`statistics.py` has it), and how far the lower half of the blocks that count lies below all of them: where that is far, it is not certain
that the lower end has been reached.
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
"""Standard deviation between processes alike, as a share of the time,"""
USUAL_FREEDOM = 4
"""and how much that counts: as a sample of so many more."""
_ENOUGH = 8
"""Blocks of an implementation that tell its place."""
_EACH = 5
"""Blocks of each process, below which all of them are one sample: what others do moves them more than where memory lies."""
_SHARES = (0.5, 0.25, 0.12)
"""Of the blocks, from the lowest on, that count: the first with which they are not smeared by more than"""
_SHARP = 0.03
"""this, unless that leaves fewer than"""
_FEWEST = 8
"""so many."""
_SMEAR = 1.0
"""How much it counts that the lower half of the blocks that count lies lower than all of these."""
_UNKNOWN = 0.05
"""Standard deviation that is added where too few blocks were left alone."""
_EFFICIENCY = 0.5
"""Variance of the mean, as a share of that of the mean of the lower half, where all is normal."""
_BLOCK = 0.2
"""Standard deviation of a block that is assumed where there is one alone."""
_STEPS = 20


@dataclass(frozen=True)
class Place:
    """Where an implementation's blocks lie."""

    log: float
    """Of seconds per call."""
    noise: float
    """Its variance as far as more blocks would make it less,"""
    variance: float
    """and with what processes alike differ by;"""
    freedom: float
    """degrees of freedom of that."""
    blocks: int
    """That it was told from."""
    smear: float
    """How much lower the lower half of the blocks that count lies than all of these."""


def places(reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> tuple[Place, Place]:
    """Of both, by blocks of the best noise of which both have enough."""
    sides = reference, kernel
    most = next(
        (g for g in (Noise.QUIET, Noise.SHARED) if all(_count(side, g) >= _ENOUGH for side in sides)), Noise.NOISY
    )
    for share in _SHARES:
        first, second = (_place(side, most, share) for side in sides)
        if max(first.smear, second.smear) < _SHARP or min(first.blocks, second.blocks) * share < _FEWEST:
            break
    return first, second


def _count(blocks: Sequence[BlockTime], most: Noise) -> int:
    return sum(block.noise <= most for block in blocks)


def _place(blocks: Sequence[BlockTime], most: Noise, share: float) -> Place:
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
    scale = 2 * float(np.sqrt(np.mean(lower**2))) if count > len(groups) else _BLOCK
    noise = scale**2 / (_EFFICIENCY * np.array([len(logs) for logs in groups], dtype=float))
    between, freedom = _between(lows, noise)
    smear = _low(left, share) - _low(left, share / 2)
    blocks_noise = float(noise.mean()) / len(groups) + (_SMEAR * smear) ** 2
    if most is Noise.NOISY:
        blocks_noise += _UNKNOWN**2 + _taken_off(blocks, share) ** 2
    middle = _huber(lows, np.sqrt(USUAL**2 + noise))
    return Place(middle, blocks_noise, blocks_noise + between / processes, freedom, count, smear)


def _taken_off(blocks: Sequence[BlockTime], share: float) -> float:
    """How much less, in logarithms, the lowest blocks count for than they took: nobody knows that so well."""
    lowest = sorted(blocks, key=lambda block: block.alone)[: _part(len(blocks), share)]
    return float(np.mean([math.log(block.seconds / block.alone) for block in lowest]))


def _part(count: int, share: float) -> int:
    """How many of so many sorted values are in that lower share."""
    return max(1, math.ceil(share * count))


def _low(logs: np.ndarray, share: float) -> float:
    """Mean of that lower share of sorted values."""
    return float(logs[: _part(len(logs), share)].mean())


def _between(lows: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """(variance between processes alike, its degrees of freedom)"""
    freedom = len(lows) - 1.0
    found = max(0.0, float(lows.var(ddof=1)) - float(noise.mean())) if freedom else 0.0
    total = USUAL_FREEDOM + freedom
    return (USUAL_FREEDOM * USUAL**2 + freedom * found) / total, total


def _huber(lows: np.ndarray, scales: np.ndarray) -> float:
    """Location of the processes' places: one that others slowed down all the while moves it little."""
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
