"""Comparison of two calls of a reference: their results, and the state that they leave in the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from evaluators.correctness.reference.runs import CallResults
from evaluators.runtime import tensors
from kernelevolve.core.errors import UserError
from kernelevolve.tasks.loading import LoadedTask


class NotDeterministicError(UserError):
    """The reference gives several results for the same inputs."""


def check_same(loaded: LoadedTask, first: CallResults, second: CallResults, what: str) -> None:
    """Check that two calls gave the same results.

    Args:
        loaded: The task, for the message.
        first: The results of one call.
        second: The results of another call.
        what: What differs, for the message.

    Raises:
        NotDeterministicError: The results differ.
    """
    if not alike(first, second):
        raise NotDeterministicError(f"task {loaded.task.name}: the reference is not deterministic: {what}")


def alike(first: CallResults, second: CallResults) -> bool:
    """Return whether two calls gave the same results: tensors and floats up to rounding, other plain values exactly."""
    exact = [[v for v in ran.values if not isinstance(v, float)] for ran in (first, second)]
    return first.structure == second.structure and exact[0] == exact[1] and _agree(first.results, second.results)


def _agree(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6, equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of a model's parameters and buffers by name."""
    return {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}


def differing(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Return the names of the tensors that differ between two states of a model."""
    return tuple(
        name for name, value in before.items() if name not in after or not tensors.same_bits(value, after[name])
    )
