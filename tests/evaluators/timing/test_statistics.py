"""Ratios and their intervals, of blocks whose true ratio is known."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from evaluators.runtime.base import Noise
from evaluators.timing.statistics import ratio_of
from tests.evaluators.timing.simulated import blocks, offsets


def test_the_ratio_is_found() -> None:
    rng = random.Random(0)
    ratio = ratio_of(blocks(rng, 3e-4, [1.0] * 4, 80), blocks(rng, 1e-4, [1.0] * 4, 80), 0)
    assert ratio.low < 3.0 < ratio.high
    assert ratio.high / ratio.low < 1.1


@pytest.mark.parametrize("processes", [(4, 4), (6, 6), (4, 1), (5, 5)])
def test_an_implementation_against_itself_has_one_in_its_interval(processes: tuple[int, int]) -> None:
    hits = 0
    for seed in range(200):
        rng = random.Random(seed)
        first, second = (blocks(rng, 1e-4, offsets(rng, count), 60) for count in processes)
        ratio = ratio_of(first, second, seed)
        hits += ratio.low <= 1.0 <= ratio.high
    assert hits >= 184


def test_the_interval_is_no_narrower_than_the_processes_lie_apart() -> None:
    rng = random.Random(0)
    alike = ratio_of(blocks(rng, 1e-4, [1.0] * 4, 400), blocks(rng, 1e-4, [1.0] * 4, 400), 0)
    apart = ratio_of(blocks(rng, 1e-4, [1.0, 1.1, 0.9, 1.05], 400), blocks(rng, 1e-4, [1.0] * 4, 400), 0)
    assert alike.high / alike.low < 1.03
    assert apart.high / apart.low > 1.15


def test_blocks_that_something_slowed_down_move_the_ratio_little() -> None:
    off = []
    for seed in range(40):
        rng = random.Random(seed)
        first, second = blocks(rng, 3e-4, [1.0] * 6, 60), blocks(rng, 1e-4, [1.0] * 6, 60)
        spoilt = [replace(t, seconds=t.seconds * 2.5) if rng.random() < 0.1 else t for t in second]
        ratio = ratio_of(first, spoilt, seed)
        off.append(abs(ratio.value / 3.0 - 1))
    assert sorted(off)[20] < 0.02, "their mean is off by a tenth"
    assert max(off) < 0.06


def test_of_six_blocks_one_that_something_slowed_down_counts_little() -> None:
    off, widths = [], []
    for seed in range(40):
        rng = random.Random(seed)
        first, second = blocks(rng, 3e-4, [1.0, 1.0], 6), blocks(rng, 1e-4, [1.0], 6)
        slow = rng.randrange(6)
        spoilt = [replace(t, seconds=t.seconds * 2.5) if i == slow else t for i, t in enumerate(first)]
        ratio = ratio_of(spoilt, second, seed)
        off.append(abs(ratio.value / 3.0 - 1))
        widths.append(ratio.high / ratio.low)
    assert sorted(off)[20] < 0.04, "their mean is off by a sixth"
    assert sorted(widths)[20] < 1.6, "twice the scatter of the others, not of the slow one"


def test_two_processes_that_lie_apart_tell_what_is_usual_and_no_less_than_they_differ() -> None:
    rng = random.Random(0)
    alike = ratio_of(blocks(rng, 3e-4, [1.0, 1.0], 40), blocks(rng, 1e-4, [1.0], 40), 0)
    apart = ratio_of(blocks(rng, 3e-4, [1.0, 2.0], 40), blocks(rng, 1e-4, [1.0], 40), 0)
    assert 1.05 < alike.high / alike.low < 1.25
    assert apart.value == pytest.approx(3.0 * 2**0.5, rel=0.05)
    assert apart.low < 3.0
    assert apart.high > 6.0
    assert apart.high / apart.low < 20.0


def width(ratio: float, **further: Any) -> float:
    """Return the width of the interval of a ratio, from long measurements whose blocks have these fields."""
    sides = (blocks(random.Random(seed), seconds, [1.0] * 4, 400) for seed, seconds in ((0, ratio * 1e-4), (1, 1e-4)))
    first, second = ([replace(block, **further) for block in side] for side in sides)
    found = ratio_of(first, second, 0)
    return found.high / found.low


@pytest.mark.parametrize("further", [{"start_error": 5e-6}, {"noise": Noise.SHARED}])
def test_what_lengthens_both_sides_alike_widens_the_interval_of_a_ratio_far_from_one(further: dict[str, Any]) -> None:
    assert width(1.0) < 1.03
    assert width(3.0) < 1.03
    assert width(3.0, **further) > width(1.0, **further) + 0.04
    assert width(1.0, start_error=5e-6) < 1.03, "both sides of a ratio of 1 are longer by the same share"
