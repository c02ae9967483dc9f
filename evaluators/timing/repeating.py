"""Measuring again what others have disturbed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from evaluators.runtime.base import Runtime
from evaluators.timing.machine_noise import quietest
from kernelevolve.core.evaluation import MachineState

_T = TypeVar("_T")


def undisturbed(
    runtime: Runtime, measure: Callable[[], _T], disturbed_above: float, repeats: int
) -> tuple[_T, MachineState]:
    """Measure until nobody disturbs it.

    Args:
        runtime: What the measurement runs on.
        measure: The measurement.
        disturbed_above: The share of the hardware that other programs may use.
        repeats: How often it may be done again.

    Returns:
        What the quietest measurement gave, and what else the machine did during that one; `repeats` in it says how many others there were.
    """
    found: list[_T] = []
    states: list[MachineState] = []
    while not states or (states[-1].disturbed and len(found) <= repeats):
        observation = runtime.observe()
        found.append(measure())
        states.append(observation.finish(disturbed_above))
    kept = quietest(states)
    return found[kept], states[kept].model_copy(update={"repeats": len(states) - 1})
