"""When enough has been measured."""

from __future__ import annotations

import random

from evaluators.timing.blocks import BlockTime
from evaluators.timing.stopping import DurationRule, IntervalRule, spread
from tests.evaluators.timing.simulated import SETTINGS, blocks


def test_measuring_stops_when_it_is_sure() -> None:
    rng, enough = random.Random(0), IntervalRule(SETTINGS)
    first, second = blocks(rng, 3e-4, [1.0], 60), blocks(rng, 1e-4, [1.0], 60)
    rounds = next(n for n in range(1, 60) if enough({"eager": first[:n], "k": second[:n]}, 0.1))
    assert SETTINGS.min_rounds <= rounds < 60
    assert spread(list(zip(first, second, strict=True))[:rounds])[1] < SETTINGS.target_interval
    assert enough({"eager": first[:6], "k": second[:6]}, SETTINGS.max_seconds + 1)
    assert not enough({"eager": first[:2], "k": second[:2]}, SETTINGS.max_seconds + 1), "so few say nothing"
    assert enough({"eager": first}, 0.1), "the kernel has failed"


def test_a_slow_kernel_is_dropped_early() -> None:
    rng, enough = random.Random(0), IntervalRule(SETTINGS, floor=0.7)
    first, second = blocks(rng, 1e-4, [1.0], 8), blocks(rng, 4e-4, [1.0], 8)
    assert enough({"eager": first[:6], "k": second[:6]}, 0.1)
    assert not enough({"eager": second[:4], "k": first[:4]}, 0.1)


def test_long_calls_get_fewer_rounds_instead_of_no_end() -> None:
    enough = DurationRule(SETTINGS.model_copy(update={"min_rounds": 40, "max_seconds": 2.0}), entrants=2)
    two = {"eager": [BlockTime(0, 1.0)] * 2, "k": [BlockTime(0, 2.0)] * 2}
    assert not enough(two, 6.0)
    assert enough(two, 9.0)
