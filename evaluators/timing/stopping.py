"""When enough has been measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evaluators.settings import TimingSettings
from evaluators.timing.blocks import BlockTime, Times, left_alone
from evaluators.timing.one_sided import places
from evaluators.timing.robust import EFFICIENCY, huber

_NORMAL = 1.96
_RACED_ROUNDS = 4
"""That a kernel must lose, each of them, to be dropped before there are `min_rounds`; as few are enough where others disturb."""
_GLANCE_ROUNDS = 4
"""Between two looks at what disturbed blocks tell."""
_DISTURBED_INTERVAL = 0.03
"""Least relative half-width that is waited for where others disturb."""
_MORE_ROUNDS = 4
"""Times `max_rounds`, of blocks that are short because others disturb."""
_PATIENCE = 4
"""Times `max_seconds` that the fewest rounds may take."""


def spread(rounds: Sequence[tuple[BlockTime, BlockTime]]) -> tuple[float, float]:
    """Huber's location of the log ratios, and the half-width of its 95% interval as far as blocks scatter."""
    logs = np.array([math.log(a.seconds / b.seconds) for a, b in rounds])
    middle, scale = huber(logs)
    return middle, _NORMAL * scale / math.sqrt(EFFICIENCY * len(logs))


def spread_of_places(reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> tuple[float, float]:
    """The same by the blocks that were left alone, wherever they come."""
    first, second = places(reference, kernel)
    return first.log - second.log, _NORMAL * math.sqrt(first.noise + second.noise)


class TightEnough:
    """For a pair: until the interval of the ratio is tight, or the ratio is surely below `floor`, or time is up."""

    def __init__(self, settings: TimingSettings, floor: float | None = None) -> None:
        self._settings = settings
        self._floor = floor

    def __call__(self, times: Times, seconds: float) -> bool:
        """`seconds` since the start."""
        if len(times) < 2:
            return True
        reference, kernel = times.values()
        settings = self._settings
        rounds = left_alone(reference, kernel)
        if rounds is None:
            return self._disturbed(reference, kernel, seconds)
        if len(rounds) < settings.min_rounds:
            return seconds > _PATIENCE * settings.max_seconds or self._loses(rounds)
        middle, half = spread(rounds)
        return (
            self._is_below(middle + half)
            or half < settings.target_interval
            or seconds > settings.max_seconds
            or len(rounds) >= settings.max_rounds
        )

    def _disturbed(self, reference: Sequence[BlockTime], kernel: Sequence[BlockTime], seconds: float) -> bool:
        settings = self._settings
        if len(kernel) < settings.min_rounds:
            return seconds > _PATIENCE * settings.max_seconds
        if (
            seconds > settings.disturbed_factor * settings.max_seconds
            or len(kernel) >= _MORE_ROUNDS * settings.max_rounds
        ):
            return True
        if len(kernel) < settings.min_rounds or len(kernel) % _GLANCE_ROUNDS:
            return False
        middle, half = spread_of_places(reference, kernel)
        return self._is_below(middle + half) or half < max(_DISTURBED_INTERVAL, settings.target_interval)

    def _is_below(self, most: float) -> bool:
        """Whether a ratio whose logarithm is at most that is below the floor."""
        return self._floor is not None and most < math.log(self._floor)

    def _loses(self, rounds: Sequence[tuple[BlockTime, BlockTime]]) -> bool:
        """Whether every round is below the floor."""
        floor = self._floor
        return (
            floor is not None and len(rounds) >= _RACED_ROUNDS and all(a.seconds < floor * b.seconds for a, b in rounds)
        )


class LongEnough:
    """For many: `max_seconds` for each of them, and `min_rounds`; rounds so long that these take twice that time are fewer.

    Where others disturb it: until the intervals of all are tight, `disturbed_factor` times as long at most.
    """

    def __init__(self, settings: TimingSettings, entrants: int) -> None:
        self._settings = settings
        self._entrants = entrants

    def __call__(self, times: Times, seconds: float) -> bool:
        settings = self._settings
        reference, *others = times.values()
        disturbed = [kernel for kernel in others if left_alone(reference, kernel) is None]
        rounds = len(reference)
        if not disturbed and rounds >= settings.max_rounds:
            return True
        if rounds >= _RACED_ROUNDS and disturbed:
            most = settings.disturbed_factor * settings.max_seconds * self._entrants
            if seconds > most or rounds >= _MORE_ROUNDS * settings.max_rounds:
                return True
            wanted = max(_DISTURBED_INTERVAL, settings.target_interval)
            return (
                rounds % _GLANCE_ROUNDS == 0
                and seconds > settings.max_seconds * self._entrants
                and all(spread_of_places(reference, kernel)[1] < wanted for kernel in disturbed)
            )
        return seconds > settings.max_seconds * self._entrants * (1 if rounds >= settings.min_rounds else 2)
