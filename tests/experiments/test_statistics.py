from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelevolve.core.errors import UserError
from kernelevolve.experiments.curves import Curve
from kernelevolve.experiments.statistics import compared, mean_interval


def curve(label: str, best: list[float], pace: float = 1.0) -> Curve:
    values = np.maximum.accumulate(np.array(best))
    return Curve(label, "run", "task", pace * np.arange(1, len(best) + 1), values)


def test_nothing_is_said_beyond_the_shortest_run() -> None:
    found = compared([curve("a", [1, 2, 9]), curve("b", [1, 3], pace=4.0)], [3.0, 9.0])
    assert found.horizon == 2
    assert found.seconds == 3.0
    assert [group.label for group in found.groups] == ["b", "a"]
    b, a = found.groups
    assert (b.final.value, a.final.value) == (3.0, 2.0)
    assert (b.area.value, a.area.value) == (2.0, 1.5)
    assert b.reached[3.0].evaluations == 2
    assert b.reached[3.0].seconds == 8.0
    assert a.reached[9.0].share == 0.0
    assert a.reached[9.0].evaluations is None
    assert len(a.by_seconds.at) == len(a.by_seconds.mean)
    assert a.by_seconds.at[-1] == 3.0


def test_the_median_is_told_where_half_of_the_runs_came_there() -> None:
    runs = [curve("a", [0, 0, 5]), curve("a", [5, 5, 5]), curve("a", [0, 0, 0])]
    [group] = compared(runs, [5.0]).groups
    assert group.reached[5.0].share == pytest.approx(2 / 3)
    assert group.reached[5.0].evaluations == 3


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(0)
    good = [curve("good", list(rng.normal(3.0, 0.1, 20))) for _ in range(8)]
    bad = [curve("bad", list(rng.normal(2.0, 0.1, 20))) for _ in range(8)]
    found = compared([*bad, *good], [])
    assert [group.label for group in found.groups] == ["good", "bad"]
    [duel] = found.duels
    assert (duel.first, duel.second) == ("good", "bad")
    assert duel.better.value == 1.0
    assert duel.p_value is not None
    assert duel.p_value < 1e-3


def test_a_difference_that_is_not_there_is_not() -> None:
    false = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        runs = [curve(label, list(rng.normal(2.0, 0.3, 10))) for label in "aaaaaabbbbbb"]
        [duel] = compared(runs, [], seed).duels
        assert duel.p_value is not None
        false += duel.p_value < 0.05
    assert false <= 5


def test_the_interval_of_a_mean_covers_it() -> None:
    covered = 0
    for seed in range(200):
        found = mean_interval(np.random.default_rng(seed).normal(1.0, 0.2, 20), seed)
        assert found.low <= found.value <= found.high
        covered += found.low <= 1.0 <= found.high
    assert covered >= 178


@given(st.lists(st.lists(st.floats(0, 20), min_size=3, max_size=9), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_bands_hold_their_mean_and_never_fall(runs: list[list[float]]) -> None:
    found = compared([curve("abc"[i % 3], run) for i, run in enumerate(runs)], [1.0])
    for group in found.groups:
        for band in (group.by_evaluations, group.by_seconds):
            assert np.all(band.low <= band.mean + 1e-9)
            assert np.all(band.mean <= band.high + 1e-9)
            assert np.all(np.diff(band.mean) >= -1e-9)
    for duel in found.duels:
        assert 0 <= duel.better.low <= duel.better.value <= duel.better.high <= 1


def test_one_run_each_has_no_test_and_equal_runs_no_winner() -> None:
    [duel] = compared([curve("a", [1.0]), curve("b", [1.0])], []).duels
    assert duel.p_value is None
    assert duel.better.value == 0.5
    [same] = compared([curve(label, [1.0]) for label in "aabb"], []).duels
    assert same.p_value == 1.0


def test_nothing_to_compare() -> None:
    with pytest.raises(UserError, match="some runs"):
        compared([], [])
