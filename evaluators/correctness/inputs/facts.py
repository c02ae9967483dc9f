"""The properties of the values of one input that its draws show: restricted ranges, order, masks, structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

_SAMPLE = 1 << 18
"""The number of elements from which order and structure are read; ranges are read from all elements."""
_FEW_VALUES = 4
"""The largest number of different values of an input that has few values."""
_SHARP = 0.01
"""The difference between the bounds of several draws up to which they count as those of the distribution, as a share of the span."""
_SHARP_ELEMENTS = 64
"""The least number of elements from which the bounds of a distribution, or its few values, are inferred."""
_SIGN_ELEMENTS = 16
"""The least number of elements from which the absence of negative or positive values is inferred to be no chance."""
_COLLISIONS = 3.0
"""The expected number of equal pairs by chance from which on their absence shows that values are distinct. At this number, one input in
twenty has none by chance."""


@dataclass(frozen=True)
class Seen:
    """The properties of one tensor in one draw. A row is the last dimension."""

    elements: int
    """The number of elements."""
    width: int
    """The size of the last dimension; 1 for a tensor without dimensions."""
    low: float
    """The smallest finite value."""
    high: float
    """The largest finite value."""
    finite: bool
    """Whether all values are finite."""
    binary: bool
    """Whether all values are 0 or 1."""
    integral: bool
    """Whether all values are integers, in any dtype."""
    few: bool
    """Whether at least 64 elements have at most 4 different values."""
    ascending: bool
    """Whether no value is less than the one before it in its row."""
    descending: bool
    """Whether no value is greater than the one before it in its row."""
    strict: bool
    """Whether no two neighbours in a row are equal."""
    collisions: float | None
    """The least expected number of equal pairs by chance in rows of this width; None where a row has equal values."""
    every_row_has_one: bool
    """Whether every row has a nonzero value."""
    every_row_has_zero: bool
    """Whether every row has a zero."""
    one_hot: bool
    """Whether every row has exactly one 1 and zeros elsewhere."""
    sums_to_one: bool
    """Whether every row has nonnegative values that sum to 1."""
    square: str
    """The structure of square matrices: `symmetric`, `triangular` or empty."""


@dataclass(frozen=True)
class Facts:
    """The properties of an input that hold in every draw. Fields that `Seen` also has mean the same."""

    low: float | None
    """The smallest value that is known to be legal; None where small values are not restricted."""
    high: float | None
    """The largest value that is known to be legal; None where large values are not restricted."""
    binary: bool
    discrete: bool
    """Whether only drawn values are known to be legal, since they are integers or a few values."""
    finite: bool
    ascending: bool
    descending: bool
    distinct: bool
    """Whether the values of each row differ."""
    every_row_has_one: bool
    every_row_has_zero: bool
    one_hot: bool
    sums_to_one: bool
    square: str
    uniform: bool
    """Whether all values of all draws are equal."""
    constant: bool
    """Whether every draw of the same shape has the same values, which may then depend on the shape."""

    @property
    def why_fixed(self) -> str:
        """The reason why the values must stay as drawn; empty where they may change."""
        if self.constant:
            return "every draw is the same"
        if self.distinct:
            return "the values of a row differ"
        return "" if self.finite else "it holds values that are not finite"

    @property
    def cut_only(self) -> str:
        """The reason why the last dimension cannot be extended by repeating values; empty where it can."""
        if self.distinct:
            return "its values differ"
        if self.constant and not self.uniform:
            return "every draw is the same"
        return "its matrices are triangular" if self.square == "triangular" else ""


def look(tensor: torch.Tensor) -> Seen:
    """Return the properties of one tensor; complex and empty tensors get default values with no elements."""
    x = tensor.detach()
    if x.numel() == 0 or x.is_complex():
        return _nothing()
    width = x.shape[-1] if x.dim() else 1
    rows = x.reshape(-1, width)[: max(1, _SAMPLE // width)]
    numbers = rows.to(torch.uint8) if rows.dtype == torch.bool else rows
    flat = x.reshape(-1)
    finite, low, high = _range(flat)
    head = numbers.reshape(-1)[:_SAMPLE]
    binary = low >= 0 and high <= 1 and bool(((head == 0) | (head == 1)).all())
    integral = not x.is_floating_point() or bool((head == head.round()).all())
    steps = (numbers[:, :-1], numbers[:, 1:])
    ones = (numbers != 0).sum(dim=1)
    wide = width > 1
    return Seen(
        elements=x.numel(),
        width=width,
        low=low,
        high=high,
        finite=finite,
        binary=binary,
        integral=integral,
        few=head.numel() >= _SHARP_ELEMENTS and int(head.unique().numel()) <= _FEW_VALUES,
        ascending=bool((steps[0] <= steps[1]).all()),
        descending=bool((steps[0] >= steps[1]).all()),
        strict=bool((steps[0] != steps[1]).all()),
        collisions=_collisions(numbers, low, high) if wide and integral else None,
        every_row_has_one=bool((ones > 0).all()),
        every_row_has_zero=bool((ones < width).all()),
        one_hot=binary and wide and bool((ones == 1).all()),
        sums_to_one=x.is_floating_point()
        and wide
        and low >= 0
        and bool(((rows.double().sum(1) - 1).abs() < 2e-3).all()),
        square=_square(x),
    )


def merge(main: Sequence[Seen], others: Sequence[Seen], *, constant: bool) -> Facts:
    """Return the properties that hold in all draws.

    Args:
        main: The properties in each draw of the main inputs.
        others: The properties in the draws of the variants.
        constant: Whether the draws of the main inputs are equal.
    """
    seen = [s for s in (*main, *others) if s.elements]
    wide = [s for s in seen if s.width > 1]
    several = [s for s in seen if s.width > 2]
    binary = bool(seen) and all(s.binary for s in seen)
    ascending = bool(several) and all(s.ascending for s in wide)
    descending = bool(several) and all(s.descending for s in wide)
    strict = (ascending != descending) and all(s.strict for s in wide)
    chance = sum(s.collisions or 0.0 for s in wide)
    apart = bool(wide) and all(s.collisions is not None for s in wide) and chance > _COLLISIONS
    uniform = bool(seen) and len({(s.low, s.high) for s in seen}) == 1 and seen[0].low == seen[0].high
    low, high = _bounds([s for s in main if s.elements], [s for s in others if s.elements])
    squares = {s.square for s in wide}
    return Facts(
        low=low,
        high=high,
        binary=binary,
        discrete=bool(seen) and (all(s.integral for s in seen) or _few(seen)),
        finite=all(s.finite for s in seen),
        ascending=ascending and not uniform,
        descending=descending and not uniform,
        distinct=not binary and (strict or apart),
        every_row_has_one=binary and bool(wide) and all(s.every_row_has_one for s in wide),
        every_row_has_zero=binary and bool(wide) and all(s.every_row_has_zero for s in wide),
        one_hot=bool(wide) and all(s.one_hot for s in wide),
        sums_to_one=bool(several) and all(s.sums_to_one for s in wide) and not all(s.one_hot for s in wide),
        square=squares.pop() if len(squares) == 1 and not uniform else "",
        uniform=uniform,
        constant=constant,
    )


def _few(seen: Sequence[Seen]) -> bool:
    return any(s.few for s in seen) and all(s.few or s.elements < _SHARP_ELEMENTS for s in seen)


def repair(x: torch.Tensor, facts: Facts) -> torch.Tensor:
    """Return a tensor whose rows have the properties of an input: order, at least one 1, exactly one 1, a sum of 1.

    Args:
        x: The tensor, which is returned itself where it has these properties.
        facts: The properties of the input.
    """
    if x.dim() == 0 or x.shape[-1] == 0 or x.numel() == 0:
        return x
    steps = (x[..., :-1], x[..., 1:])
    if (facts.ascending and bool((steps[0] > steps[1]).any())) or (
        facts.descending and bool((steps[0] < steps[1]).any())
    ):
        x = x.sort(dim=-1, descending=facts.descending).values
    if facts.one_hot:
        first = (x != 0).to(torch.uint8).argmax(dim=-1, keepdim=True)
        return torch.zeros_like(x).scatter(-1, first, 1)
    if facts.every_row_has_zero and x.shape[-1] > 1:
        x = _set_where(x, (x != 0).all(dim=-1), 0 if facts.ascending else -1, 0)
    if facts.every_row_has_one:
        x = _set_where(x, (x == 0).all(dim=-1), -1 if facts.ascending else 0, 1)
    if facts.sums_to_one:
        total = x.sum(dim=-1, keepdim=True)
        x = torch.where(total > 0, x / total.clamp(min=torch.finfo(x.dtype).tiny), 1.0 / x.shape[-1])
    return x


def _set_where(x: torch.Tensor, rows: torch.Tensor, column: int, value: int) -> torch.Tensor:
    if not bool(rows.any()):
        return x
    x = x.clone()
    x[..., column] = torch.where(rows, torch.full_like(x[..., column], value), x[..., column])
    return x


def _range(flat: torch.Tensor) -> tuple[bool, float, float]:
    if not flat.is_floating_point():
        low, high = torch.aminmax(flat)
        return True, int(low), int(high)
    low, high = torch.aminmax(flat)
    if bool(torch.isfinite(low)) and bool(torch.isfinite(high)):
        return True, float(low), float(high)
    kept = flat[torch.isfinite(flat)]
    return (False, float(kept.min()), float(kept.max())) if kept.numel() else (False, 0.0, 0.0)


def _collisions(rows: torch.Tensor, low: float, high: float) -> float | None:
    ordered = rows.sort(dim=1).values
    if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        return None
    width = rows.shape[1]
    return float(rows.shape[0] * width * (width - 1) / 2 / (high - low + 1))


def _square(x: torch.Tensor) -> str:
    if x.dim() < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] < 3:
        return ""
    matrices = x.reshape(-1, *x.shape[-2:])[: max(1, _SAMPLE // (x.shape[-1] ** 2))]
    if matrices.dtype == torch.bool:
        matrices = matrices.to(torch.uint8)
    if torch.equal(matrices, matrices.mT):
        return "symmetric"
    if not bool(matrices.triu(1).any()) or not bool(matrices.tril(-1).any()):
        return "triangular"
    return ""


def _bounds(main: Sequence[Seen], others: Sequence[Seen]) -> tuple[float | None, float | None]:
    every = [*main, *others]
    if not every:
        return None, None
    low, high = min(s.low for s in every), max(s.high for s in every)
    if sum(s.elements for s in every) < _SIGN_ELEMENTS:
        return low, high
    span = high - low
    sharp = len(main) > 1 and min(s.elements for s in main) >= _SHARP_ELEMENTS
    lows, highs = [s.low for s in main], [s.high for s in main]
    below = low >= 0 or (sharp and max(lows) - min(lows) <= _SHARP * span)
    above = high <= 0 or (sharp and max(highs) - min(highs) <= _SHARP * span)
    return low if below else None, high if above else None


def _nothing() -> Seen:
    return Seen(
        elements=0,
        width=0,
        low=0.0,
        high=0.0,
        finite=True,
        binary=False,
        integral=False,
        few=False,
        ascending=False,
        descending=False,
        strict=False,
        collisions=None,
        every_row_has_one=False,
        every_row_has_zero=False,
        one_hot=False,
        sums_to_one=False,
        square="",
    )
