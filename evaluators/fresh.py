"""Inputs that no player has seen: mixtures of the task's own draws.

A tensor of a call lies between those of two draws, x + w (y - x) with a random w: ranges, order along a dimension and sums that all
draws share are kept, and the results of earlier calls, or multiples of them, do not fit. Where there is one draw alone, it is scaled.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from evaluators.reference import Case
from evaluators.tensors import same_bits, span_of

_LEAST_SCALE = 0.8
_LOOKED_AT = 1 << 16
"""Elements of an input, anywhere in it, that are looked at to see whether it was changed."""


@dataclass(frozen=True)
class Values:
    """The inputs of one call: a draw, and for each tensor how far on the way to the other draw it is (None: not mixed)."""

    draw: int
    other: int
    weights: tuple[float | None, ...]


class FreshValues:
    """Chooses values for the calls of a case and writes them where they are wanted.

    Integers, masks, flags and the like, which hold whole numbers or infinities, are drawn and not mixed.
    """

    def __init__(self, case: Case) -> None:
        self._draws = [case.load(draw) for draw in range(case.draws)]
        self._mixed = [_mixes(value) for value in self._draws[0]]

    def choose(self, rng: random.Random) -> Values:
        draw, other = rng.randrange(len(self._draws)), rng.randrange(len(self._draws))
        weights = (rng.random() if mixed else None for mixed in self._mixed)
        return Values(draw, other, tuple(weights))

    def write(self, values: Values, into: Sequence[object]) -> None:
        for i, target in enumerate(into):
            if isinstance(target, torch.Tensor):
                self._mix(values, i, target)

    def _mix(self, values: Values, position: int, target: torch.Tensor) -> None:
        source, other = self._draws[values.draw][position], self._draws[values.other][position]
        weight = values.weights[position]
        if weight is None:
            target.copy_(source)
        elif values.draw == values.other:
            torch.mul(source, 1.0 - (1.0 - _LEAST_SCALE) * weight, out=target)
        else:
            torch.lerp(source, other, weight, out=target)


class Watch:
    """Over the inputs of a call: a piece of each, anywhere in it, as it was."""

    def __init__(self, inputs: Sequence[object], rng: random.Random) -> None:
        self._pieces: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        for i, tensor in enumerate(inputs):
            if isinstance(tensor, torch.Tensor):
                flat = tensor.as_strided((span_of(tensor.shape, tensor.stride()),), (1,))
                start = rng.randrange(max(1, flat.numel() - _LOOKED_AT + 1))
                piece = flat[start : start + _LOOKED_AT]
                self._pieces.append((i, piece, piece.clone()))

    def changed(self) -> int | None:
        """The position of an input that is not as it was."""
        return next((i for i, now, before in self._pieces if not same_bits(now, before)), None)


def _mixes(value: object) -> bool:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.numel() == 0:
        return False
    return bool(value.isfinite().all()) and bool((value != value.round()).float().mean() > 0.5)
