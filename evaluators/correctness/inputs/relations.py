"""The relations of integer inputs to sizes and to other inputs.

Relations are read from one draw at a time, and only those that hold in every draw count. A relation that holds by chance excludes some
legal inputs, but never makes an illegal one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

_MEMBERS = 1 << 20
"""The number of elements from which membership is read."""


class Form(StrEnum):
    """The way in which a jagged input stores the lengths of its rows."""

    OFFSETS = "offsets"
    """Offsets of shape (rows + 1,) that start at 0, never decrease, and end with the number of values."""
    STARTS = "starts"
    """Starts of rows of shape (rows,) that start at 0 and never decrease; the last row ends at the number of values."""
    LENGTHS = "lengths"
    """Lengths of shape (rows,) whose sum is the number of values."""


@dataclass(frozen=True)
class Jagged:
    """Input `source` splits dimension `dim` of input `target` into rows."""

    source: int
    form: Form
    target: int
    dim: int


@dataclass(frozen=True)
class LengthsOf:
    """Input `what` holds the lengths of the rows of the jagged input `source`."""

    what: int
    source: int


@dataclass(frozen=True)
class SegmentsOf:
    """Input `what` holds the index of the row of each value of the jagged input `source`."""

    what: int
    source: int


@dataclass(frozen=True)
class Longest:
    """No row of the jagged input `source` is longer than dimension `dim` of input `target`; its values need not be known."""

    source: int
    target: int
    dim: int


@dataclass(frozen=True)
class Bound:
    """Every value of input `what` is at most the size of dimension `dim` of input `target`, or less than it where `strict`."""

    what: int
    target: int
    dim: int
    strict: bool


@dataclass(frozen=True)
class Reaches:
    """The largest value of input `what` is the size of dimension `dim` of input `target`, or one less."""

    what: int
    target: int
    dim: int


@dataclass(frozen=True)
class Permutation:
    """Input `what` holds each of 0 to n - 1 once."""

    what: int


@dataclass(frozen=True)
class Members:
    """Every value of input `what` occurs in the one-dimensional input `table`."""

    what: int
    table: int


@dataclass(frozen=True)
class Ordered:
    """Every element of input `lower` is at most that of input `upper`."""

    lower: int
    upper: int


@dataclass(frozen=True)
class Rises:
    """The rows of input `what` start with 0 and never decrease, as offsets do."""

    what: int


Relation = Jagged | LengthsOf | SegmentsOf | Longest | Rises | Bound | Reaches | Permutation | Members | Ordered


def row_lengths(source: torch.Tensor, form: Form, total: int) -> torch.Tensor:
    """Return the lengths of the rows of a jagged input.

    Args:
        source: The jagged input.
        form: How it stores the lengths.
        total: The number of values.

    Returns:
        (rows,) int64.
    """
    values = source.to(torch.int64)
    if form is Form.LENGTHS:
        return values
    ends = values if form is Form.OFFSETS else torch.cat([values, values.new_tensor([total])])
    return torch.diff(ends)


def from_lengths(lengths: torch.Tensor, form: Form, dtype: torch.dtype) -> torch.Tensor:
    """Return a jagged input for given lengths of rows, which is the inverse of `row_lengths`."""
    ends = torch.cumsum(lengths, dim=0)
    if form is Form.OFFSETS:
        return torch.cat([ends.new_zeros(1), ends]).to(dtype)
    return (ends - lengths if form is Form.STARTS else lengths).to(dtype)


def expand_rows(lengths: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the positions of the values of some rows.

    Args:
        lengths: The lengths of all rows.
        rows: The indices of the rows to take, which may repeat.

    Returns:
        (values,) int64: the positions, row by row.
    """
    starts = torch.cumsum(lengths, dim=0) - lengths
    taken = lengths[rows]
    first = torch.cumsum(taken, dim=0) - taken
    return torch.arange(int(taken.sum())) + torch.repeat_interleave(starts[rows] - first, taken)


def find_relations(inputs: Sequence[Any]) -> frozenset[Relation]:
    """Return all relations that hold in one draw of inputs."""
    tensors = {i: x for i, x in enumerate(inputs) if isinstance(x, torch.Tensor)}
    integers = {i: x for i, x in tensors.items() if _is_integer(x) and x.numel()}
    places = [(i, d, int(size)) for i, x in tensors.items() for d, size in enumerate(x.shape)]
    found: set[Relation] = set()
    for i, x in integers.items():
        found.update(_jagged(i, x, places))
        found.update(_bounds(i, x, places))
        if rises_from_zero(x):
            found.add(Rises(i))
            found.update(_longest(i, int(x.diff().max()), places))
        if x.dim() == 1 and x.numel() > 2 and torch.equal(x.sort().values.to(torch.int64), torch.arange(x.numel())):
            found.add(Permutation(i))
    for relation in [r for r in found if isinstance(r, Jagged)]:
        total = int(tensors[relation.target].shape[relation.dim])
        lengths = row_lengths(tensors[relation.source], relation.form, total)
        found.update(_around_rows(relation.source, lengths, integers, places))
    found.update(_members(integers))
    found.update(_ordered(tensors))
    return frozenset(found)


def held_in_all(draws: Sequence[frozenset[Relation]]) -> frozenset[Relation]:
    """Return the relations that hold in every draw; where offsets are known, the same relation in the form of starts is dropped."""
    held = frozenset.intersection(*draws) if draws else frozenset()
    closed = {(r.source, r.target, r.dim) for r in held if isinstance(r, Jagged) and r.form is Form.OFFSETS}
    return frozenset(
        r
        for r in held
        if not (isinstance(r, Jagged) and r.form is Form.STARTS and (r.source, r.target, r.dim) in closed)
    )


def rises_from_zero(x: torch.Tensor) -> bool:
    """Return whether the rows of a tensor could be offsets: integers that start at 0 and never decrease."""
    if not _is_integer(x) or x.dim() == 0 or x.numel() == 0 or x.shape[-1] < 2:
        return False
    return not bool(x[..., 0].any()) and bool((x[..., 1:] >= x[..., :-1]).all())


def _is_integer(x: torch.Tensor) -> bool:
    return not x.is_floating_point() and not x.is_complex() and x.dtype != torch.bool


def _jagged(i: int, x: torch.Tensor, places: Sequence[tuple[int, int, int]]) -> Iterator[Relation]:
    if x.dim() != 1 or int(x.min()) < 0:
        return
    rising = rises_from_zero(x)
    last, total = int(x[-1]), int(x.sum())
    for j, d, size in places:
        if j == i or size == 0:
            continue
        if rising and last == size:
            yield Jagged(i, Form.OFFSETS, j, d)
        # Row indices of values also rise from 0, but there is one for each value, or they stay far below the number of values.
        if rising and x.numel() < size and size // 2 <= last <= size:
            yield Jagged(i, Form.STARTS, j, d)
        if total == size and x.numel() > 1 and int(x.max()) > 1:
            yield Jagged(i, Form.LENGTHS, j, d)


def _around_rows(
    source: int, lengths: torch.Tensor, integers: dict[int, torch.Tensor], places: Sequence[tuple[int, int, int]]
) -> Iterator[Relation]:
    segments = torch.repeat_interleave(torch.arange(lengths.numel()), lengths)
    for k, x in integers.items():
        if k == source or x.dim() != 1:
            continue
        wide = x.to(torch.int64)
        if torch.equal(wide, lengths):
            yield LengthsOf(k, source)
        if torch.equal(wide, segments):
            yield SegmentsOf(k, source)
    yield from _longest(source, int(lengths.max()), places)


def _longest(source: int, longest: int, places: Sequence[tuple[int, int, int]]) -> Iterator[Relation]:
    for j, d, size in places:
        if j != source and longest <= size:
            yield Longest(source, j, d)


def _bounds(i: int, x: torch.Tensor, places: Sequence[tuple[int, int, int]]) -> Iterator[Relation]:
    low, high = int(x.min()), int(x.max())
    # A mask of 0 and 1 is below every size, but refers to none.
    if high < 1 or (low == 0 and high == 1):
        return
    for j, d, size in places:
        if high <= size:
            yield Bound(i, j, d, strict=False)
            if high < size:
                yield Bound(i, j, d, strict=True)
            if size - 1 <= high:
                yield Reaches(i, j, d)


def _members(integers: dict[int, torch.Tensor]) -> Iterator[Relation]:
    for t, table in integers.items():
        if table.dim() != 1 or table.numel() < 3 or table.unique().numel() != table.numel():
            continue
        for k, x in integers.items():
            if k != t and bool(torch.isin(x.reshape(-1)[:_MEMBERS], table).all()):
                yield Members(k, t)


def _ordered(tensors: dict[int, torch.Tensor]) -> Iterator[Relation]:
    for i, x in tensors.items():
        for j, y in tensors.items():
            alike = (
                x.shape == y.shape
                and x.dtype == y.dtype
                and x.dtype != torch.bool
                and not x.is_complex()
                and x.numel() > 1
            )
            if i != j and alike and bool((x <= y).all()):
                yield Ordered(i, j)
