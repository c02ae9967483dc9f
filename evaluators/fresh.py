"""Inputs that no player has seen: draws of the task's own, the floating ones scaled by a random factor."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from evaluators.reference import Case
from evaluators.tensors import span_of

_LEAST_SCALE = 0.8
_LOOKED_AT = 1 << 16
"""Elements of an input, anywhere in it, that are looked at to see whether it was changed."""


@dataclass(frozen=True)
class Values:
    """The inputs of one call: a draw, its tensors multiplied by these (None: left as they are)."""

    draw: int
    factors: tuple[float | None, ...]


class FreshValues:
    """Chooses values for the calls of a case and writes them where they are wanted.

    Masks, flags and the like, which hold little but 0 and ±1, are not scaled.
    """

    def __init__(self, case: Case, rng: random.Random) -> None:
        self._rng = rng
        self._draws = [case.load(draw) for draw in range(case.draws)]
        self._scaled = [_varied(value) for value in self._draws[0]]

    def choose(self) -> Values:
        draw = self._rng.randrange(len(self._draws))
        factors = (self._rng.uniform(_LEAST_SCALE, 1.0) if scaled else None for scaled in self._scaled)
        return Values(draw, tuple(factors))

    def write(self, values: Values, into: Sequence[object]) -> None:
        for source, target, factor in zip(self._draws[values.draw], into, values.factors, strict=True):
            if not isinstance(target, torch.Tensor):
                continue
            if factor is None:
                target.copy_(source)
            else:
                torch.mul(source, factor, out=target)

    def unchanged(self, values: Values, found: Sequence[object]) -> int | None:
        """The position of an input that is not as it was written, as far as a piece of each shows."""
        for i, (source, tensor, factor) in enumerate(zip(self._draws[values.draw], found, values.factors, strict=True)):
            if not isinstance(tensor, torch.Tensor):
                continue
            flat, wanted = _memory(tensor), _memory(source)
            start = self._rng.randrange(max(1, flat.numel() - _LOOKED_AT + 1))
            piece = wanted[start : start + _LOOKED_AT]
            if not same_bits(piece if factor is None else piece * factor, flat[start : start + _LOOKED_AT]):
                return i
        return None


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, NaN included."""
    if a.is_floating_point():
        integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
        return bool(torch.equal(a.view(integer), b.view(integer)))
    return bool(torch.equal(a, b))


def _memory(tensor: torch.Tensor) -> torch.Tensor:
    """All of its elements as they lie, for a tensor with memory of its own."""
    return tensor.as_strided((span_of(tensor.shape, tensor.stride()),), (1,))


def _varied(value: object) -> bool:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.numel() == 0:
        return False
    plain = (value == 0) | (value.abs() == 1) | ~value.isfinite()
    return bool(plain.float().mean() < 0.5)
