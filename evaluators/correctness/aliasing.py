"""Checks that results share memory with inputs, the model or other results only where those of the reference do.

A caller that writes into a result must not change anything else, unless it would with the reference too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from torch import nn

from evaluators.runtime.tensors import TensorDescription
from kernelevolve.tasks.tensor_kinds import DTYPES

Range = tuple[int, int]
"""A range of addresses in bytes: (first, one past the last)."""


def with_memory_of_their_own(
    results: Sequence[torch.Tensor], inputs: Iterable[object], model: nn.Module
) -> tuple[bool, ...]:
    """Return, for each result of a call, whether its memory is its own.

    Args:
        results: The tensors that the call returned.
        inputs: The arguments of the call.
        model: The model that was called.

    Returns:
        For each result, whether it shares memory with no input, no tensor of the model, and no other result.
    """
    held: list[object] = [*inputs, *model.parameters(), *model.buffers()]
    for module in model.modules():
        held += vars(module).values()
    taken = {_storage(x) for x in held if isinstance(x, torch.Tensor)}
    places = [_storage(t) for t in results]
    return tuple(
        t.numel() > 0 and place not in taken and places.count(place) == 1
        for t, place in zip(results, places, strict=True)
    )


def fault(fresh: Sequence[bool], outputs: Sequence[TensorDescription], inputs: Sequence[Range]) -> str:
    """Describe memory that a candidate's results of one call share though the reference's do not.

    Args:
        fresh: For each result of the reference, whether its memory is its own.
        outputs: The candidate's results.
        inputs: The memory ranges of the inputs.

    Returns:
        A message; empty where nothing is wrong.
    """
    for i, own in enumerate(fresh):
        if own and any(_overlap(range_of(outputs[i]), each) for each in inputs):
            return f"output {i} shares memory with an input, but that of the reference does not"
    for i, j in combinations(range(len(outputs)), 2):
        if (fresh[i] or fresh[j]) and _coincide(outputs[i], outputs[j]):
            return f"outputs {i} and {j} share memory, but those of the reference do not"
    return ""


def same_memory(fresh: Sequence[bool], once: Sequence[TensorDescription], again: Sequence[TensorDescription]) -> str:
    """Describe memory that the results of two calls share though the reference's do not.

    Args:
        fresh: For each result of the reference, whether its memory is its own.
        once: The results of the first call, which are still alive.
        again: The results of the second call.

    Returns:
        A message; empty where nothing is wrong.
    """
    for i, own in enumerate(fresh):
        if own and _overlap(range_of(once[i]), range_of(again[i])):
            return f"output {i} of two calls is in the same memory, but that of the reference is not"
    return ""


def range_of(output: TensorDescription) -> Range:
    """Return the memory range of a result."""
    return output.pointer, output.pointer + output.span * DTYPES[output.dtype].itemsize


def _coincide(a: TensorDescription, b: TensorDescription) -> bool:
    """Return whether two results start at the same element. Interleaved columns of one block do not coincide."""
    return a.numel > 0 and b.numel > 0 and a.pointer == b.pointer


def _overlap(a: Range, b: Range) -> bool:
    return max(a[0], b[0]) < min(a[1], b[1])


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)
