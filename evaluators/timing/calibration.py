"""What timing has learned of a runner, kept as long as the runner and its layout."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from evaluators.runtime.base import Returned, Runner
from evaluators.runtime.layout import Layout


@dataclass
class Calibration:
    """Of one runner in one layout of its inputs."""

    layout: Layout
    returned: Returned | None = None
    """What a call returns."""
    warm_slots: int = 0
    """Slots, the first ones, that have been written to and called with."""
    call_seconds: float | None = None
    """The time of a call, by the fastest block so far."""


class Calibrations:
    """Of the runners of one runtime."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Runner, Calibration] = WeakKeyDictionary()
        self._overheads: WeakKeyDictionary[Runner, float] = WeakKeyDictionary()

    def of(self, runner: Runner) -> Calibration:
        """Of its present layout; a new one where it had another layout before."""
        layout = runner.slots.layout
        known = self._known.get(runner)
        if known is None or known.layout is not layout:
            known = self._known[runner] = Calibration(layout)
        return known

    def overhead(self, runner: Runner) -> float | None:
        """Seconds of a block without calls; None where that was not measured."""
        return self._overheads.get(runner)

    def set_overhead(self, runner: Runner, seconds: float) -> None:
        """Keep the seconds of a block without calls."""
        self._overheads[runner] = seconds
