"""The cases that are derived from a task, which differ from its own inputs in shapes, values, plain arguments or the batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from pydantic import Field

from evaluators.correctness.inputs.checks import ARGUMENTS, BATCHES, NONFINITE_VALUES, SHAPES, VALUES
from evaluators.correctness.inputs.groups import Dimensions
from kernelevolve.core.record import Record


class Kind(StrEnum):
    """The way in which a derived case differs from the task's own inputs."""

    SHAPE = "shape"
    BATCH = "batch"
    VALUES = "values"
    ARGUMENTS = "arguments"


_CHECKS = {
    Kind.SHAPE: SHAPES,
    Kind.BATCH: BATCHES,
    Kind.VALUES: VALUES,
    Kind.ARGUMENTS: ARGUMENTS,
}


class InputSettings(Record):
    """The number of derived inputs, and how they are made."""

    shapes: int = Field(ge=0)
    """The number of hidden shapes."""
    values: int = Field(ge=0)
    """The number of distributions of values."""
    nonfinite: bool
    """Whether to add cases with NaN and infinities, where some input is not restricted."""
    seed: int
    """The seed of all random choices."""
    memory_factor: float = Field(gt=0)
    """The memory that inputs of hidden shapes may take, as a multiple of that of the main inputs; at least 4 MiB."""
    export_seconds: float = Field(gt=0)
    """The seconds that torch.export, which finds free dimensions, may take."""


@dataclass(frozen=True)
class DerivedCase:
    """A set of inputs that is made on demand, and is the same each time."""

    name: str
    """The name of the case, such as `shape: x0[0]=613, x1[0]=613` or `values: tiny`."""
    kind: Kind
    """The way in which it differs from the task's own inputs."""
    ties: bool
    """Whether it has equal values on purpose, so that positions from a sort or a top-k may be undefined."""
    nonfinite: bool
    """Whether it has NaN and infinities."""
    make: Callable[[], list[Any]] = field(repr=False, compare=False)
    """Makes the leaves of the arguments of forward."""
    tentative: bool = False
    """Whether it differs from all draws so much that it is used only where the results of the reference stay finite."""
    outside: bool = False
    """Whether its values leave the drawn range."""
    instead: DerivedCase | None = field(default=None, repr=False, compare=False)
    """The case to use where the reference has no usable result on this one."""

    @property
    def check(self) -> str:
        """The name of the check that the case belongs to."""
        if self.nonfinite:
            return NONFINITE_VALUES
        return _CHECKS[self.kind]

    def inputs(self) -> list[Any]:
        """Return the leaves of the arguments of forward. The state of torch's global generator is preserved."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return self.make()


@dataclass(frozen=True)
class DerivedInputs:
    """The cases that were derived from a task, and the reasons why there are not more."""

    cases: tuple[DerivedCase, ...]
    """The derived cases."""
    dimensions: Dimensions
    """The groups of dimensions of the inputs."""
    notes: tuple[str, ...]
    """Sentences about each group of dimensions, about inputs whose values stay as drawn, and about what failed."""
    skipped: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The checks with no or fewer cases than requested: the name of a check -> the reasons."""
    timed_out: bool = False
    """Whether time ran out during the search for free dimensions."""
