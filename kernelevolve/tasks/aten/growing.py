"""Enlarging a sample: its dimensions are doubled as long as the operator accepts that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kernelevolve.tasks.aten.calls import Call

Shapes = tuple[tuple[int, ...], ...]
"""The shape of each tensor."""
Key = tuple[str, frozenset[tuple[int, int]]]
"""A way to enlarge a call: its name, and the dimensions (tensor, axis) that it doubles."""
_TRIALS = 160
"""The number of enlargements that are tried."""


@dataclass(frozen=True)
class Sized:
    """A call with the shapes of its tensors."""

    call: Call
    shapes: Shapes

    @property
    def elements(self) -> int:
        """The elements of the largest tensor."""
        return max(map(math.prod, self.shapes), default=0)


@dataclass(frozen=True)
class Cost:
    """What a call takes, in elements."""

    total: int
    """Of all tensors and results."""
    results: int
    """Of the results."""


def grown(sized: Sized, fixed: frozenset[int], limit: int, cost: Callable[[Sized], Cost | None]) -> Sized:
    """Enlarge a call.

    In turn, from the last axis to the first, each size above 1 that a tensor has there is doubled, the smallest first: in all tensors
    that have it on this axis (elementwise operators), or all dimensions of that size (products), those and the equal whole numbers
    among the arguments (operators that take sizes), or a single dimension. The first way that the operator accepts is kept. One that
    makes the results smaller, such as a wider window of a pooling, is not. Sizes of 1 are doubled only where nothing else is accepted.
    It goes on until every enlargement would exceed the limit or is refused.

    Args:
        sized: The call of the sample.
        fixed: The tensors whose shapes must not change.
        limit: The number of elements, of all tensors and results together, that is not exceeded.
        cost: Runs the operator and returns what it takes, or None if it refuses the sizes.

    Returns:
        The enlarged call.
    """
    before = cost(sized)
    trials = 0
    refused: set[Key] = set()
    least = 2
    while before is not None and trials < _TRIALS:
        moved = False
        for axis in range(1, max((len(shape) for shape in sized.shapes), default=0) + 1):
            for size in sorted(_sizes(sized, fixed, axis)):
                for key, tried in _moves(sized, fixed, axis, size) if size >= least else ():
                    if key in refused or trials >= _TRIALS:
                        continue
                    trials += 1
                    found = cost(tried)
                    if found is None or found.results < before.results or found.total > limit:
                        refused.add(key)
                        continue
                    sized, before, moved = tried, found, True
                    break
        if not moved and least == 1:
            break
        least = 2 if moved else 1
    return sized


def _sizes(sized: Sized, fixed: frozenset[int], axis: int) -> set[int]:
    """Return the sizes that tensors have on an axis, which is counted from the last one."""
    return {shape[-axis] for i, shape in enumerate(sized.shapes) if len(shape) >= axis and i not in fixed}


def _moves(sized: Sized, fixed: frozenset[int], axis: int, size: int) -> Iterator[tuple[Key, Sized]]:
    """Yield enlarged calls for a size on an axis, each with a key that names the way and the dimensions."""
    free = [(i, shape) for i, shape in enumerate(sized.shapes) if i not in fixed]
    along = frozenset((i, len(shape) - axis) for i, shape in free if len(shape) >= axis and shape[-axis] == size)
    equal = frozenset((i, at) for i, shape in free for at, found in enumerate(shape) if found == size)
    if not along:
        return
    yield ("along", along), _doubled(sized, along)
    if size > 1:
        yield ("equal", equal), _doubled(sized, equal)
        arguments = sized.call.with_size(size, 2 * size)
        if arguments != sized.call:
            yield ("sizes", equal), replace(_doubled(sized, equal), call=arguments)
            yield ("sizes along", along), replace(_doubled(sized, along), call=arguments)
    for place in sorted(along):
        yield ("single", frozenset([place])), _doubled(sized, frozenset([place]))


def _doubled(sized: Sized, places: frozenset[tuple[int, int]]) -> Sized:
    shapes = tuple(
        tuple(2 * size if (i, at) in places else size for at, size in enumerate(shape))
        for i, shape in enumerate(sized.shapes)
    )
    return replace(sized, shapes=shapes)
