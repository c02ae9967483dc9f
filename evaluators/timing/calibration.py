"""Calibration of runners for timing, kept as long as a runner and its layout exist."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from evaluators.runtime.base import Returned, Runner
from evaluators.runtime.layout import Layout


@dataclass
class Calibration:
    """The facts that timing has learned about one runner with one layout of its inputs."""

    layout: Layout
    """The layout of the runner's inputs."""
    returned: Returned | None = None
    """The result of a call, or None before the first one."""
    warm_slots: int = 0
    """The number of slots, the first ones, that were already written to and used by calls."""
    call_seconds: float | None = None
    """The seconds that one call takes, by the fastest block so far."""


class Calibrations:
    """The calibrations of the runners of one runtime."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Runner, Calibration] = WeakKeyDictionary()
        self._overheads: WeakKeyDictionary[Runner, float] = WeakKeyDictionary()

    def of(self, runner: Runner) -> Calibration:
        """Return the calibration of a runner with its present layout. It is a new one if the layout has changed."""
        layout = runner.slots.layout
        known = self._known.get(runner)
        if known is None or known.layout is not layout:
            known = self._known[runner] = Calibration(layout)
        return known

    def overhead(self, runner: Runner) -> float | None:
        """Return the seconds of a block without calls, or None if that was not measured."""
        return self._overheads.get(runner)

    def set_overhead(self, runner: Runner, seconds: float) -> None:
        """Store the seconds of a block without calls."""
        self._overheads[runner] = seconds
