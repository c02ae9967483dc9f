"""When enough has been measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.robust import EFFICIENCY, huber
from evaluators.settings import TimingSettings

_LEAST = 0.01
"""Of a block, that its own work is at least."""


@dataclass(frozen=True)
class Taken:
    """One timed block."""

    process: int
    """Which of the processes that hold this implementation ran it."""
    seconds: float
    """Per call."""
    disturbed: bool = False
    """Whether other processes had a part of it,"""
    lost: float = 0.0
    """and how many of its seconds at most, see `disturbance.py`."""

    @property
    def alone(self) -> float:
        """What it would have taken at least had nobody disturbed it."""
        return max(self.seconds - self.lost, _LEAST * self.seconds) if self.disturbed else self.seconds


Times = Mapping[str, Sequence[Taken]]
"""By name, one for each round."""


def spread(reference: Sequence[Taken], kernel: Sequence[Taken]) -> tuple[float, float]:
    """Huber's location of the log ratios, and the half-width of its 95% interval as far as blocks scatter."""
    logs = np.array([math.log(a.seconds / b.seconds) for a, b in zip(reference, kernel, strict=True)])
    middle, scale = huber(logs)
    return middle, _NORMAL * scale / math.sqrt(EFFICIENCY * len(logs))


_NORMAL = 1.96
_RACED_ROUNDS = 4
"""That a kernel must lose, each of them, to be dropped before there are `min_rounds`."""


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
        if len(kernel) < settings.min_rounds:
            return seconds > 4 * settings.max_seconds or self._loses(reference, kernel)
        middle, half = spread(reference, kernel)
        return (
            (self._floor is not None and middle + half < math.log(self._floor))
            or half < settings.target_interval
            or seconds > settings.max_seconds
            or len(kernel) >= settings.max_rounds
        )

    def _loses(self, reference: Sequence[Taken], kernel: Sequence[Taken]) -> bool:
        """Whether every round is below the floor."""
        floor = self._floor
        return (
            floor is not None
            and len(kernel) >= _RACED_ROUNDS
            and all(a.seconds < floor * b.seconds for a, b in zip(reference, kernel, strict=True))
        )


class LongEnough:
    """For many: `max_seconds` for each of them, and `min_rounds`; rounds so long that these take twice that time are fewer."""

    def __init__(self, settings: TimingSettings, contestants: int) -> None:
        self._settings = settings
        self._seconds = settings.max_seconds * contestants

    def __call__(self, times: Times, seconds: float) -> bool:
        rounds = len(next(iter(times.values())))
        if rounds >= self._settings.max_rounds:
            return True
        return seconds > self._seconds * (1 if rounds >= self._settings.min_rounds else 2)
