"""Inputs that a kernel has not been tuned to: hidden shapes and distributions of values, derived from a task."""

from evaluators.correctness.inputs.cases import DerivedCase, DerivedInputs, InputSettings, Kind, derived_cases
from evaluators.correctness.inputs.ranges import declared_ranges
from evaluators.correctness.inputs.worth import unfit

__all__ = [
    "DerivedCase",
    "DerivedInputs",
    "InputSettings",
    "Kind",
    "declared_ranges",
    "derived_cases",
    "unfit",
]
