"""The location of blocks of which others made some longer: simulated noise that is one-sided, and partly unseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evaluators.runtime.base import Noise
from evaluators.timing.blocks import BlockTime
from evaluators.timing.one_sided import locations
from evaluators.timing.statistics import is_precise, ratio_of
from kernelevolve.core.evaluation import Ratio

_TIMES = 300
_SPREAD = 0.02
"""Standard deviation of blocks, and of processes alike, on a quiet machine."""


@dataclass(frozen=True)
class Load:
    """What others do to blocks: each is hit with a probability, more often where it needs all cores."""

    hit: float
    seen: float = 0.9
    """Share of the hits that waiting tells of."""


def blocks(
    rng: np.random.Generator, seconds: float, processes: int, count: int, load: Load, all_cores: bool
) -> list[BlockTime]:
    """A hit makes a block up to several times as long; company, which is not waited for, a few percent."""
    offsets = np.exp(rng.normal(0, _SPREAD, processes))
    found = []
    for i in range(count):
        taken = seconds * offsets[i % processes] * np.exp(rng.normal(0, _SPREAD))
        grade = Noise.SHARED if rng.random() < load.hit else Noise.QUIET
        if grade is Noise.SHARED:
            taken *= 1 + rng.exponential(0.03)
        if rng.random() < load.hit * (1.0 if all_cores else 0.5):
            lost = taken * rng.exponential(1.5)
            taken += lost
            if rng.random() < load.seen:
                found.append(BlockTime(i % processes, taken, Noise.NOISY, 0.8 * lost))
                continue
        found.append(BlockTime(i % processes, taken, grade))
    return found


def told(ratio: float, load: Load, processes: Sequence[int], count: int) -> list[tuple[Ratio, bool]]:
    """(interval, whether it is told) of many measurements of a kernel with one thread against a reference with all."""
    found = []
    for seed in range(_TIMES):
        rng = np.random.default_rng(seed)
        reference = blocks(rng, ratio, processes[0], count, load, all_cores=True)
        kernel = blocks(rng, 1.0, processes[1], count, load, all_cores=False)
        interval = ratio_of(reference, kernel, seed)
        found.append((interval, is_precise(interval, reference, kernel)))
    return found


QUIET, SOME, MUCH = Load(0.0), Load(0.35), Load(0.65)


@pytest.mark.parametrize("ratio", [1.0, 3.0])
@pytest.mark.parametrize(("load", "count"), [(QUIET, 40), (SOME, 60), (MUCH, 120), (Load(0.5, seen=0.7), 120)])
def test_the_quiet_value_is_told_and_lies_in_the_interval(ratio: float, load: Load, count: int) -> None:
    made = [interval for interval, tells in told(ratio, load, (6, 6), count) if tells]
    values = np.array([interval.value / ratio for interval in made])
    assert len(made) >= 0.9 * _TIMES
    assert np.mean(np.abs(values - 1) <= 0.07) >= 0.95
    assert np.mean([interval.low <= ratio <= interval.high for interval in made]) >= 0.90
    assert abs(np.median(values) - 1) < 0.02, "it leans to neither side"
    assert np.mean(values > 1.05) <= 0.025


@pytest.mark.parametrize(("load", "count"), [(SOME, 24), (MUCH, 40)])
def test_the_few_processes_of_a_search_tell_the_quiet_value(load: Load, count: int) -> None:
    made = [interval for interval, tells in told(3.0, load, (2, 1), count) if tells]
    values = np.array([interval.value / 3.0 for interval in made])
    assert len(made) >= 0.7 * _TIMES
    assert np.mean(np.abs(values - 1) <= 0.1) >= 0.9
    assert np.mean([interval.low <= 3.0 <= interval.high for interval in made]) >= 0.90


def test_where_hardly_a_block_is_left_alone_little_is_told_and_no_false_speedup() -> None:
    made = told(1.0, Load(0.97), (6, 6), 20)
    false = [interval for interval, tells in made if tells and interval.low > 1.0]
    assert sum(tells for _, tells in made) < 0.3 * _TIMES
    assert len(false) <= 0.05 * _TIMES


@given(
    st.lists(
        st.tuples(st.floats(1e-6, 10.0), st.sampled_from(list(Noise)), st.floats(0.0, 20.0)), min_size=1, max_size=40
    ),
    st.integers(1, 6),
)
@example([(1.0, Noise.QUIET, 0.0)] * 8, 1)
def test_any_blocks_have_a_place_within_them(found: list[tuple[float, Noise, float]], processes: int) -> None:
    side = [BlockTime(i % processes, seconds, grade, lost) for i, (seconds, grade, lost) in enumerate(found)]
    for location in locations(side, side):
        assert np.log(min(block.alone for block in side)) - 1e-6 <= location.log
        assert location.log <= np.log(max(block.seconds for block in side)) + 1e-6
        assert 0 < location.noise <= location.variance < np.inf
        assert location.freedom > 0


def test_longer_disturbances_move_nothing_where_enough_was_left_alone() -> None:
    rng = np.random.default_rng(0)
    side = blocks(rng, 1.0, 6, 80, SOME, all_cores=True)
    longer = [BlockTime(b.process, 10 * b.seconds if b.disturbed else b.seconds, b.noise, b.lost) for b in side]
    assert locations(side, side)[0].log == locations(longer, longer)[0].log
