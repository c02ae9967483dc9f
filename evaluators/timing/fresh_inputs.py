"""Fresh inputs for timed calls: mixtures of the task's own draws that no runner has seen before.

Each tensor of a call is interpolated between two draws, x + w (y - x) with a random w. This keeps ranges, the order along a dimension and
sums that all draws share, while the results of earlier calls, or multiples of them, are wrong. If both draws are the same one, it is
scaled.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from evaluators.correctness.reference.data import Case
from evaluators.runtime.base import Slots
from evaluators.runtime.tensors import memory_of, same_bits, span_of

_LEAST_SCALE = 0.8
"""The least factor by which a draw is scaled."""
_LOOKED_AT = 1 << 16
"""The number of consecutive elements of an input that are checked for changes, at a random position."""
_SMALL_BYTES = 1 << 16
"""The most bytes of an input that is written for all calls together."""


@dataclass(frozen=True)
class Values:
    """The choice of the inputs of some calls."""

    draws: np.ndarray
    """The first draw of each call, of shape (calls,)."""
    others: np.ndarray
    """The second draw of each call, of shape (calls,)."""
    weights: np.ndarray
    """The weight of the second draw, of shape (inputs, calls)."""

    def __len__(self) -> int:
        return len(self.draws)


class FreshValues:
    """Chooses values for the calls of a case and writes them to slots.

    Inputs that hold mostly whole numbers, or infinities, such as indices, masks and flags, are taken from one draw and not mixed.
    """

    def __init__(self, case: Case) -> None:
        self._draws = [case.load(draw) for draw in range(case.draws)]
        self._mixed = [_mixes(value) for value in self._draws[0]]
        self._rooms = [torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.uint8)]
        self._stacks = [self._stack(i) for i in range(len(self._mixed))]

    def _stack(self, position: int) -> torch.Tensor | None:
        """Return the memory of a small input in each draw, one row each, and a row of zeros; None for a large input."""
        first = self._draws[0][position]
        if not isinstance(first, torch.Tensor) or not 0 < _span(first) * first.itemsize <= _SMALL_BYTES:
            return None
        rows = [_memory(draw[position]) for draw in self._draws]
        return torch.stack([*rows, torch.zeros_like(rows[0])])

    def choose(self, rng: np.random.Generator, calls: int) -> Values:
        """Choose values for a number of calls."""
        count = len(self._draws)
        draws, others = rng.integers(count, size=(2, calls))
        return Values(draws, others, rng.random((len(self._mixed), calls)))

    def write(self, values: Values, slots: Slots, start: int = 0) -> None:
        """Write values into slots, one slot per call, from slot `start` on."""
        for i, stack in enumerate(self._stacks):
            if stack is not None:
                self._write_together(values, i, stack, slots.memory(i)[start : start + len(values)])
                continue
            for call in range(len(values)):
                target = slots.inputs(start + call)[i]
                if isinstance(target, torch.Tensor):
                    self._mix(values, call, i, target)

    def _write_together(self, values: Values, position: int, stack: torch.Tensor, targets: torch.Tensor) -> None:
        targets, sources = _workable(targets), self._rows(stack, values.draws, 0)
        if not self._mixed[position]:
            targets.copy_(sources)
            return
        same = values.draws == values.others  # Scaling is an interpolation with zeros, the last row.
        others = self._rows(stack, np.where(same, len(self._draws), values.others), 1)
        weights = np.where(same, (1.0 - _LEAST_SCALE) * values.weights[position], values.weights[position])
        torch.lerp(sources, others, torch.from_numpy(weights).to(stack.dtype)[:, None], out=targets)

    def _rows(self, stack: torch.Tensor, numbers: np.ndarray, place: int) -> torch.Tensor:
        """Copy rows of a stack into memory that is allocated once."""
        size = len(numbers) * stack.shape[1] * stack.itemsize
        if self._rooms[place].numel() < size:
            self._rooms[place] = torch.empty(size, dtype=torch.uint8)
        room = self._rooms[place][:size].view(stack.dtype).view(len(numbers), stack.shape[1])
        return torch.index_select(stack, 0, torch.from_numpy(numbers), out=room)

    def _mix(self, values: Values, call: int, position: int, target: torch.Tensor) -> None:
        draw, other, weight = int(values.draws[call]), int(values.others[call]), float(values.weights[position, call])
        source, target = _memory(self._draws[draw][position]), _memory(target)
        if not self._mixed[position]:
            target.copy_(source)
        elif draw == other:
            torch.mul(source, 1.0 - (1.0 - _LEAST_SCALE) * weight, out=target)
        else:
            torch.lerp(source, _memory(self._draws[other][position]), weight, out=target)


def changed(
    inputs: Sequence[object], before: Sequence[object], rng: random.Random, free: Collection[int] = ()
) -> int | None:
    """Find an input of a call that was changed. A piece of each tensor is compared, at a random position.

    Args:
        inputs: The leaves of the inputs after the call.
        before: The leaves before it.
        rng: The source of random positions.
        free: The positions of inputs that may change.

    Returns:
        The position of the first changed input, or None.
    """
    for i, (now, then) in enumerate(zip(inputs, before, strict=True)):
        if i not in free and isinstance(now, torch.Tensor) and isinstance(then, torch.Tensor):
            new, old = _memory(now), _memory(then)
            start = rng.randrange(max(1, new.numel() - _LOOKED_AT + 1))
            if not same_bits(new[start : start + _LOOKED_AT], old[start : start + _LOOKED_AT]):
                return i
    return None


def _span(tensor: torch.Tensor) -> int:
    return span_of(tensor.shape, tensor.stride())


_MIXABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _memory(tensor: torch.Tensor) -> torch.Tensor:
    """Return the elements from the first to the last in memory, one-dimensional, in the form of `_workable`."""
    return _workable(memory_of(tensor))


def _workable(memory: torch.Tensor) -> torch.Tensor:
    """Return elements in a form to mix or copy: complex numbers as pairs of real ones, and dtypes that are not mixed as integers."""
    if memory.is_complex():
        memory = torch.view_as_real(memory).flatten(-2)
    return memory if memory.dtype in _MIXABLE else memory.view(_BITS[memory.itemsize])


def _mixes(value: object) -> bool:
    if not isinstance(value, torch.Tensor) or value.numel() == 0:
        return False
    numbers = torch.view_as_real(value) if value.is_complex() else value
    if numbers.dtype not in _MIXABLE:
        return False
    return bool(numbers.isfinite().all()) and bool((numbers != numbers.round()).float().mean() > 0.5)
