"""The rules that end a measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evaluators.settings import TimingSettings
from evaluators.timing.blocks import BlockTime, Times, undisturbed_rounds
from evaluators.timing.one_sided import locations
from evaluators.timing.robust import EFFICIENCY, huber

_NORMAL = 1.96
"""The two-sided 95% quantile of the normal distribution."""
_RACED_ROUNDS = 4
"""The number of rounds, all below the floor, after which a kernel is dropped before `min_rounds`. It also is the least number of rounds
for ending a disturbed measurement."""
_GLANCE_ROUNDS = 4
"""The number of rounds between two estimates from disturbed blocks."""
_DISTURBED_INTERVAL = 0.04
"""The least relative half-width of the interval that a disturbed measurement aims for."""
_DISTURBED_ROUNDS = 12
"""The least number of rounds of a disturbed measurement, if `min_rounds` is greater. Its interval is wide for other reasons than noise."""
_MORE_ROUNDS = 4
"""The multiple of `max_rounds` that is allowed on a busy machine, where blocks are short."""
_PATIENCE = 4
"""The multiple of `max_seconds` that the least number of rounds may take."""


def spread(rounds: Sequence[tuple[BlockTime, BlockTime]]) -> tuple[float, float]:
    """Return Huber's location of the log ratios, and the half-width of its 95% interval due to the scatter of blocks."""
    logs = np.array([math.log(a.seconds / b.seconds) for a, b in rounds])
    middle, scale = huber(logs)
    return middle, _NORMAL * scale / math.sqrt(EFFICIENCY * len(logs))


def spread_of_locations(reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> tuple[float, float]:
    """Return the location of the log ratio and the half-width of its interval, from unpaired blocks."""
    first, second = locations(reference, kernel)
    return first.log - second.log, _NORMAL * math.sqrt(first.noise + second.noise)


class IntervalRule:
    """Ends the measurement of one kernel when the ratio's interval is tight, the ratio is surely below `floor`, or time is up."""

    def __init__(self, settings: TimingSettings, floor: float | None = None) -> None:
        """`floor` is the speedup below which a kernel is not measured further, or None."""
        self._settings = settings
        self._floor = floor

    def __call__(self, times: Times, seconds: float) -> bool:
        """Return whether to stop, `seconds` after the start."""
        if len(times) < 2:
            return True
        reference, kernel = times.values()
        settings = self._settings
        rounds = undisturbed_rounds(reference, kernel)
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
        if len(kernel) < min(settings.min_rounds, _DISTURBED_ROUNDS):
            return seconds > _PATIENCE * settings.max_seconds
        if (
            seconds > settings.disturbed_factor * settings.max_seconds
            or len(kernel) >= _MORE_ROUNDS * settings.max_rounds
        ):
            return True
        if len(kernel) % _GLANCE_ROUNDS:
            return False
        middle, half = spread_of_locations(reference, kernel)
        return self._is_below(middle + half) or half < max(_DISTURBED_INTERVAL, settings.target_interval)

    def _is_below(self, most: float) -> bool:
        """Return whether a ratio whose logarithm is at most `most` is below the floor."""
        return self._floor is not None and most < math.log(self._floor)

    def _loses(self, rounds: Sequence[tuple[BlockTime, BlockTime]]) -> bool:
        """Return whether there are enough rounds to drop the kernel, and all are below the floor."""
        floor = self._floor
        return (
            floor is not None and len(rounds) >= _RACED_ROUNDS and all(a.seconds < floor * b.seconds for a, b in rounds)
        )


class DurationRule:
    """Ends the measurement of several entrants after `max_seconds` for each of them.

    It goes on for up to twice as long to reach `min_rounds`. If other programs disturb it, it goes on until the intervals of all entrants
    are tight, for at most `disturbed_factor` times as long.
    """

    def __init__(self, settings: TimingSettings, entrants: int) -> None:
        """`entrants` is the number of entrants besides the reference."""
        self._settings = settings
        self._entrants = entrants

    def __call__(self, times: Times, seconds: float) -> bool:
        """Return whether to stop, `seconds` after the start."""
        settings = self._settings
        reference, *others = times.values()
        disturbed = [kernel for kernel in others if undisturbed_rounds(reference, kernel) is None]
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
                and all(spread_of_locations(reference, kernel)[1] < wanted for kernel in disturbed)
            )
        return seconds > settings.max_seconds * self._entrants * (1 if rounds >= settings.min_rounds else 2)
