"""The stopwatch: what runs inside of the measuring child."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Self

from pydantic import model_validator

from evaluators.settings import TimingSettings
from kernelevolve.core.record import Record

Call = Callable[[], object]
Clock = Callable[[], int]
"""Nanoseconds."""


class Samples(Record):
    """Seconds per call, one pair for each round."""

    reference: tuple[float, ...]
    kernel: tuple[float, ...]
    dropped: bool = False
    """Stopped early, since the kernel is surely too slow to matter."""

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if len(self.reference) != len(self.kernel) or not self.kernel:
            raise ValueError("times come in pairs, at least one")
        if min(*self.reference, *self.kernel) <= 0:
            raise ValueError("a time must be positive")
        return self


def _block(call: Call, count: int, clock: Clock) -> float:
    start = clock()
    for _ in range(count):
        call()
    return max(clock() - start, 1) / count / 1e9


def _calls_per_block(call: Call, settings: TimingSettings, clock: Clock) -> int:
    for _ in range(settings.warmup_calls):
        call()
    once = min(_block(call, 1, clock) for _ in range(2))
    return max(1, round(settings.block_seconds / once))


def time_pair(reference: Call, kernel: Call, settings: TimingSettings, floor: float | None, clock: Clock) -> Samples:
    """Time both in ABBA order until the interval of their ratio is tight enough, or time is up.

    Stops early (`dropped`) once the ratio is surely below `floor`.
    """
    counts = _calls_per_block(reference, settings, clock), _calls_per_block(kernel, settings, clock)
    slow: list[float] = []
    fast: list[float] = []
    begin = clock()
    while len(fast) < settings.max_rounds:
        if len(fast) % 2 == 0:
            a, b = _block(reference, counts[0], clock), _block(kernel, counts[1], clock)
        else:
            b, a = _block(kernel, counts[1], clock), _block(reference, counts[0], clock)
        slow.append(a)
        fast.append(b)
        if len(fast) < settings.min_rounds:
            if (clock() - begin) / 1e9 > 4 * settings.max_seconds:
                break
            continue
        middle, half = _spread(slow, fast)
        if floor is not None and middle + half < math.log(floor):
            return Samples(reference=tuple(slow), kernel=tuple(fast), dropped=True)
        if half < settings.target_interval or (clock() - begin) / 1e9 > settings.max_seconds:
            break
    return Samples(reference=tuple(slow), kernel=tuple(fast))


def _spread(slow: list[float], fast: list[float]) -> tuple[float, float]:
    """Median of the log ratios and the half-width of its 95% interval, by the median absolute deviation."""
    logs = sorted(math.log(a / b) for a, b in zip(slow, fast, strict=True))
    middle = logs[len(logs) // 2]
    deviation = sorted(abs(x - middle) for x in logs)[len(logs) // 2]
    return middle, 1.96 * 1.2533 * 1.4826 * deviation / math.sqrt(len(logs))


def time_many(functions: Mapping[str, Call], settings: TimingSettings, clock: Clock) -> dict[str, tuple[float, ...]]:
    """Time several functions interleaved, each round in the opposite order of the one before it.

    Stops after `max_seconds` and `min_rounds`; calls so long that these rounds take twice that time get fewer.
    """
    counts = {name: _calls_per_block(f, settings, clock) for name, f in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    begin = clock()
    order = list(functions)
    for round_ in range(settings.max_rounds):
        for name in order if round_ % 2 == 0 else reversed(order):
            times[name].append(_block(functions[name], counts[name], clock))
        enough = settings.max_seconds * (1 if round_ + 1 >= settings.min_rounds else 2)
        if (clock() - begin) / 1e9 > enough:
            break
    return {name: tuple(values) for name, values in times.items()}
