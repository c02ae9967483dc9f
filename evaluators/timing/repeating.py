"""Repetition of measurements that other programs disturbed."""

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
    """Repeat a measurement until other programs do not disturb it.

    Args:
        runtime: The runtime of the measurement.
        measure: The function that measures.
        disturbed_above: The share of the hardware that other programs may use.
        repeats: The most repetitions.

    Returns:
        The result of the quietest measurement and the state of the machine during it. Its `repeats` is the number of repetitions.
    """
    found: list[_T] = []
    states: list[MachineState] = []
    while not states or (states[-1].disturbed and len(found) <= repeats):
        observation = runtime.observe()
        found.append(measure())
        states.append(observation.finish(disturbed_above))
    kept = quietest(states)
    return found[kept], states[kept].model_copy(update={"repeats": len(states) - 1})
