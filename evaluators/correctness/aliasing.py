"""Whether results lie in memory of their own, where those of the reference do: who writes into one later changes nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from torch import nn

from evaluators.runtime.tensors import Described
from kernelevolve.tasks.tensor_kinds import DTYPES

Range = tuple[int, int]
"""First address, and the one behind the last."""


def with_memory_of_their_own(
    results: Sequence[torch.Tensor], inputs: Iterable[object], model: nn.Module
) -> tuple[bool, ...]:
    """For each result of a call, whether it shares memory with no input, nothing that the model holds, and no other result."""
    held: list[object] = [*inputs, *model.parameters(), *model.buffers()]
    for module in model.modules():
        held += vars(module).values()
    taken = {_storage(x) for x in held if isinstance(x, torch.Tensor)}
    places = [_storage(t) for t in results]
    return tuple(
        t.numel() > 0 and place not in taken and places.count(place) == 1
        for t, place in zip(results, places, strict=True)
    )


def fault(fresh: Sequence[bool], outputs: Sequence[Described], inputs: Sequence[Range]) -> str:
    """What is wrong with where a candidate's results of one call lie; empty where nothing is. `fresh`: of the reference's."""
    for i, own in enumerate(fresh):
        if own and any(_overlap(range_of(outputs[i]), each) for each in inputs):
            return f"output {i} lies in the memory of the inputs, the reference's does not"
    for i, j in combinations(range(len(outputs)), 2):
        if (fresh[i] or fresh[j]) and _coincide(outputs[i], outputs[j]):
            return f"outputs {i} and {j} share memory, the reference's do not"
    return ""


def same_memory(fresh: Sequence[bool], once: Sequence[Described], again: Sequence[Described]) -> str:
    """What is wrong with results of two calls, both of which are still there."""
    for i, own in enumerate(fresh):
        if own and _overlap(range_of(once[i]), range_of(again[i])):
            return f"output {i} of two calls lies in the same memory, the reference's does not"
    return ""


def range_of(output: Described) -> Range:
    return output.pointer, output.pointer + output.span * DTYPES[output.dtype].itemsize


def _coincide(a: Described, b: Described) -> bool:
    """Whether two results are the same elements, or begin with them; columns of one block lie between each other and do not."""
    return a.numel > 0 and b.numel > 0 and a.pointer == b.pointer


def _overlap(a: Range, b: Range) -> bool:
    return max(a[0], b[0]) < min(a[1], b[1])


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)
