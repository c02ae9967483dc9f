"""Samples whose operator takes tensors that are drawn anew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, product

import torch

from kernelevolve.tasks.aten.calls import Call, UnsupportedError
from kernelevolve.tasks.aten.database import Entry, resolved
from kernelevolve.tasks.aten.drawing import Drawing, drawings_of
from kernelevolve.tasks.aten.growing import Cost, Sized
from kernelevolve.tasks.aten.samples import SEED, Sample, all_equal, called, finite, results_of

_DRAWN = 12
"""The number of combinations of ways to draw the tensors of a sample that are tried."""


@dataclass(frozen=True)
class Case:
    """A sample whose operator accepts tensors that are drawn anew."""

    sample: Sample
    function: str
    sized: Sized
    drawings: tuple[Drawing, ...]
    finite: bool
    """Whether the results of drawn tensors are finite."""

    @property
    def fixed(self) -> frozenset[int]:
        """The tensors that cannot change their shapes."""
        return frozenset(i for i, drawing in enumerate(self.drawings) if drawing.fixed is not None)

    def cost(self, sized: Sized) -> Cost | None:
        """Return what a call of these sizes takes, or None if the operator refuses the sizes or ceases to return finite numbers."""
        if any(sized.shapes[i] != self.drawings[i].fixed for i in self.fixed):
            return None
        results = _run(self.function, sized, self.drawings)
        if results is None or (self.finite and not all(finite(result) for result in results)):
            return None
        elements = sum(int(result.numel()) for result in results)
        return Cost(elements + sum(map(math.prod, sized.shapes)), elements)

    def expressions(self, shapes: Sequence[Sequence[int]]) -> list[str]:
        """Return the expression that draws each tensor."""
        return [drawing.expression(shape) for drawing, shape in zip(self.drawings, shapes, strict=True)]


def case_of(entry: Entry, sample: Sample, *, whole: bool) -> Case:
    """Find a function that gives the operator's results on the sample, and a way to draw its tensors that the operator takes.

    A way with finite results is preferred. Raises UnsupportedError.
    """
    function, call = _function(entry, sample)
    sized = Sized(call, tuple(tuple(tensor.shape) for tensor in sample.tensors))
    accepted: Case | None = None
    for drawings in _combinations([list(drawings_of(tensor, whole=whole)) for tensor in sample.tensors]):
        results = _run(function, sized, drawings)
        if results is None:
            continue
        clean = all(finite(result) for result in results)
        if clean or (accepted is None and not sample.finite):
            accepted = Case(sample, function, sized, drawings, clean)
        if clean:
            break
    if accepted is None:
        raise UnsupportedError("it does not take tensors that are drawn like those of its samples")
    return accepted


def _function(entry: Entry, sample: Sample) -> tuple[str, Call]:
    """Return the expression of the operator and the call: as the sample has it, or with its first two arguments swapped.

    The entries of some operators, such as einsum, take them in another order. Raises UnsupportedError.
    """
    for call in (sample.call, sample.call.swapped()):
        for function in entry.callables:
            with suppress(Exception):  # Another overload, or a function of the same name that is another operator.
                if all_equal(called(resolved(function), call, sample.tensors, 1), sample.results):
                    return function, call
    raise UnsupportedError("no function of PyTorch's public modules gives the results of its entry")


def _run(function: str, sized: Sized, drawings: Sequence[Drawing]) -> list[torch.Tensor] | None:
    """Return the results of drawn tensors of these sizes; None if the operator refuses them."""
    with suppress(Exception):  # Whatever the operator raises says that it does not take these inputs.
        torch.manual_seed(SEED)
        tensors = [drawing.draw(shape) for drawing, shape in zip(drawings, sized.shapes, strict=True)]
        args, kwargs = sized.call.filled(tensors)
        return results_of(resolved(function)(*args, **kwargs))
    return None


def _combinations(ways: Sequence[Sequence[Drawing]]) -> Iterator[tuple[Drawing, ...]]:
    """Yield combinations of one way for each tensor, those with early ways first."""
    ordered = sorted(
        islice(product(*(range(len(each)) for each in ways)), 4096), key=lambda chosen: (sum(chosen), chosen)
    )
    for chosen in ordered[:_DRAWN]:
        yield tuple(each[index] for each, index in zip(ways, chosen, strict=True))
