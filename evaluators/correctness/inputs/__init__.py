"""Derivation of inputs that kernels have not been tuned to from a task: hidden shapes and other distributions of values."""

from evaluators.correctness.inputs.cases import DerivedCase, DerivedInputs, InputSettings, Kind
from evaluators.correctness.inputs.deriving import derived_cases
from evaluators.correctness.inputs.ranges import declared_ranges
from evaluators.correctness.inputs.suitability import unfit

__all__ = [
    "DerivedCase",
    "DerivedInputs",
    "InputSettings",
    "Kind",
    "declared_ranges",
    "derived_cases",
    "unfit",
]
