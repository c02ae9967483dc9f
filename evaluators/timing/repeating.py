"""Measuring again what others have disturbed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from evaluators.runtime.cpu.machine_state import between, quietest, snapshot
from kernelevolve.core.evaluation import MachineState

_T = TypeVar("_T")


class Repeating:
    """Knows what else the machine did during each measurement that was kept."""

    def __init__(self, disturbed_above: float) -> None:
        """`disturbed_above`: share of the cores that others may take from a measurement."""
        self._most = disturbed_above
        self.states: list[MachineState] = []

    def undisturbed(self, measure: Callable[[int], _T], repeats: int, within: float) -> _T:
        """What `measure`, which is told how often it was called before, gives while nobody disturbs it. It is called again, `repeats`
        times at most, where all of it would take less than `within` seconds.

        Where it is disturbed each time, the result of the quietest, and the last of `states` says so.
        """
        found: list[_T] = []
        states: list[MachineState] = []
        seconds = 0.0
        while not states or (states[-1].disturbed and len(found) <= repeats and seconds + states[-1].seconds <= within):
            before = snapshot()
            found.append(measure(len(found)))
            states.append(between(before, snapshot(), self._most))
            seconds += states[-1].seconds
        kept = quietest(states)
        self.states.append(states[kept].model_copy(update={"repeats": len(states) - 1}))
        return found[kept]
