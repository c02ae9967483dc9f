"""Inputs that no player has seen: mixtures of the task's own draws.

A tensor of a call lies between those of two draws, x + w (y - x) with a random w: ranges, order along a dimension and sums that all
draws share are kept, and the results of earlier calls, or multiples of them, do not fit. Where there is one draw alone, it is scaled.
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
_LOOKED_AT = 1 << 16
"""Elements of an input, anywhere in it, that are looked at to see whether it was changed."""
_SMALL_BYTES = 1 << 16
"""Of an input that is written for all calls together."""


@dataclass(frozen=True)
class Values:
    """The inputs of some calls: for each a draw and another, and how far on the way to the other each input is (inputs x calls)."""

    draws: np.ndarray
    others: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.draws)


class FreshValues:
    """Chooses values for the calls of a case and writes them where they are wanted.

    Integers, masks, flags and the like, which hold whole numbers or infinities, are drawn and not mixed.
    """

    def __init__(self, case: Case) -> None:
        self._draws = [case.load(draw) for draw in range(case.draws)]
        self._mixed = [_mixes(value) for value in self._draws[0]]
        self._rooms = [torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.uint8)]
        self._stacks = [self._stack(i) for i in range(len(self._mixed))]

    def _stack(self, position: int) -> torch.Tensor | None:
        """Of a small input: its memory in each draw, and zeros, a row each."""
        first = self._draws[0][position]
        if not isinstance(first, torch.Tensor) or not 0 < _span(first) * first.itemsize <= _SMALL_BYTES:
            return None
        rows = [_memory(draw[position]) for draw in self._draws]
        return torch.stack([*rows, torch.zeros_like(rows[0])])

    def choose(self, rng: np.random.Generator, calls: int) -> Values:
        """For so many calls."""
        count = len(self._draws)
        draws, others = rng.integers(count, size=(2, calls))
        return Values(draws, others, rng.random((len(self._mixed), calls)))

    def write(self, values: Values, slots: Slots, start: int = 0) -> None:
        """Into the slots from `start` on."""
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
        same = values.draws == values.others  # On the way to zero, which the last row is.
        others = self._rows(stack, np.where(same, len(self._draws), values.others), 1)
        weights = np.where(same, (1.0 - _LEAST_SCALE) * values.weights[position], values.weights[position])
        torch.lerp(sources, others, torch.from_numpy(weights).to(stack.dtype)[:, None], out=targets)

    def _rows(self, stack: torch.Tensor, numbers: np.ndarray, place: int) -> torch.Tensor:
        """Copies of rows of a stack, in memory that is taken from the system once."""
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
    """The position of an input of a call that is not as it was, by a piece of each, anywhere in it. `free`: may be changed."""
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
    """The elements from its first to its last, as they lie, one-dimensional and as `_workable` has them."""
    return _workable(memory_of(tensor))


def _workable(memory: torch.Tensor) -> torch.Tensor:
    """Rows of elements; of complex numbers both parts, one behind the other; as whole numbers where there are no mixtures."""
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
