"""Inputs of hidden shapes, made from the task's own draws by cutting and repeating them.

The positions that are taken along the dimensions of a group are the same in every input of the group and ascending, so that relations
between rows of several inputs, and sorted orders, are kept. Repeated floats are changed a little, since among equal values the result of
a top-k is undefined. Integers that refer to sizes are adjusted to the new sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from evaluators.correctness.inputs.facts import Facts, repair
from evaluators.correctness.inputs.groups import Dimensions, Place
from evaluators.correctness.inputs.relations import (
    Bound,
    Form,
    Jagged,
    Members,
    Ordered,
    Permutation,
    Reaches,
    SegmentsOf,
    expand_rows,
    from_lengths,
    row_lengths,
)

_APART = 2.0**-5
"""The largest change of a repeated value, as a share of its distance to the next value. Properties of both values are kept in between."""


def reshape_inputs(
    inputs: Sequence[Any],
    dimensions: Dimensions,
    sizes: Mapping[int, int],
    facts: Mapping[int, Facts],
    generator: torch.Generator,
    *,
    spread: bool = False,
) -> list[Any]:
    """Return a draw of the task in other sizes.

    Args:
        inputs: A draw of the inputs, which is not changed.
        dimensions: The groups of dimensions.
        sizes: The index of a free group -> its new n. Groups that follow from the rows of a jagged input change with them; all other
            groups keep their sizes.
        facts: The facts of each tensor, by the index of the input.
        generator: The source of random numbers.
        spread: Whether integers that are below a growing size are scaled up to the new size.
    """
    return _Reshaping(inputs, dimensions, sizes, facts, generator, spread=spread).result()


def positions(old: int, new: int, generator: torch.Generator) -> torch.Tensor:
    """Return positions along a dimension for a new size.

    Args:
        old: The size of the dimension.
        new: The new size.
        generator: The source of random numbers.

    Returns:
        (new,) int64, ascending: the first `new` positions, or all positions and some of them repeated.
    """
    if new <= old:
        return torch.arange(new)
    again = torch.randint(old, (new - old,), generator=generator)
    return torch.cat([torch.arange(old), again]).sort().values


class _Reshaping:
    """Makes one draw of other sizes."""

    def __init__(
        self,
        inputs: Sequence[Any],
        dimensions: Dimensions,
        sizes: Mapping[int, int],
        facts: Mapping[int, Facts],
        generator: torch.Generator,
        *,
        spread: bool,
    ) -> None:
        self.spread = spread
        self.inputs = inputs
        self.dimensions = dimensions
        self.sizes = sizes
        self.facts = facts
        self.generator = generator
        self.made = list(inputs)
        self.taken: dict[int, torch.Tensor] = {}
        """The positions that are taken along dimensions of size n, by the index of the group."""
        self.other: dict[tuple[int, int, int], torch.Tensor] = {}
        """The positions that are taken along dimensions of other sizes, by (group, old size, new size)."""
        self.lengths: dict[int, torch.Tensor] = {}
        """The new lengths of the rows of each jagged input."""
        every = sorted(
            (r for r in dimensions.relations if isinstance(r, Jagged)), key=lambda r: (r.source, r.target, r.dim)
        )
        self.jagged = [r for r in every if dimensions.groups[dimensions.group_of(r.target, r.dim)].follows]
        ordered = [r for r in dimensions.relations if isinstance(r, Ordered)]
        self.as_taken = {i for r in ordered for i in (r.lower, r.upper)}
        """The inputs whose repeated values are not changed."""

    def result(self) -> list[Any]:
        for g, n in self.sizes.items():
            base = self._main_place(g)
            if base is not None:
                old = self.inputs[base.source].shape[base.dim] - base.shift
                self.taken[g] = positions(old, n, self.generator)
        self._take_rows()
        for g in range(len(self.dimensions.groups)):
            for place in self.dimensions.groups[g].places:
                self._take(g, place)
        self._refer()
        return [
            repair(x, self.facts[i]) if isinstance(x, torch.Tensor) and x is not self.inputs[i] else x
            for i, x in enumerate(self.made)
        ]

    def _main_place(self, g: int) -> Place | None:
        """Return a place of a group whose size is n, or n + 1 where it holds offsets; None where there is none."""
        plain = [p for p in self.dimensions.groups[g].places if p.scale == 1 and (p.shift == 0 or self._is_offsets(p))]
        return plain[0] if plain else None

    def _is_offsets(self, place: Place) -> bool:
        return any(r.source == place.source and r.form is Form.OFFSETS for r in self.jagged)

    def _take_rows(self) -> None:
        """Find the positions of the values that belong to the taken rows of jagged inputs; values may be rows of other inputs."""
        left = list(self.jagged)
        while left:
            ready = [r for r in left if self.dimensions.group_of(r.source, 0) in self.taken]
            if not ready:
                return
            for r in ready:
                left.remove(r)
                rows = self.dimensions.group_of(r.source, 0)
                total = self.dimensions.group_of(r.target, r.dim)
                lengths = row_lengths(self.inputs[r.source], r.form, int(self.inputs[r.target].shape[r.dim]))
                if total not in self.taken:
                    self._fill(rows, lengths)
                    self.taken[total] = expand_rows(lengths, self.taken[rows])
                self.lengths[r.source] = lengths[self.taken[rows]]

    def _fill(self, rows: int, lengths: torch.Tensor) -> None:
        """Take at least one row that has values, as the task's own draws do."""
        taken = self.taken[rows]
        if int(lengths[taken].sum()) == 0:
            self.taken[rows] = torch.cat([taken[:-1], lengths.argmax()[None]]).sort().values

    def _take(self, g: int, place: Place) -> None:
        """Cut or repeat one dimension of one input."""
        x = self.made[place.source]
        old = int(x.shape[place.dim])
        if place.source in self.lengths and place.dim == 0:
            form = next(r.form for r in self.jagged if r.source == place.source)
            self.made[place.source] = from_lengths(self.lengths[place.source], form, x.dtype)
        elif g in self.taken and (place.scale, place.shift) == (1, 0):
            self.made[place.source] = self._selected(place, self.taken[g])
        elif g in self.sizes:
            key = g, old, place.size(self.sizes[g])
            if key not in self.other:
                self.other[key] = positions(old, key[2], self.generator)
            self.made[place.source] = self._selected(place, self.other[key])

    def _selected(self, place: Place, taken: torch.Tensor) -> torch.Tensor:
        x, facts = self.made[place.source], self.facts[place.source]
        found = x.index_select(place.dim, taken)
        ordered, order = taken.sort(stable=True)
        again = order[1:][ordered[1:] == ordered[:-1]].sort().values
        like = facts.discrete or facts.binary or facts.uniform or facts.constant or facts.square
        if not x.is_floating_point() or like or place.source in self.as_taken or not again.numel():
            return found
        rows = found.index_select(place.dim, again)
        others = x.index_select(place.dim, (taken[again] + 1) % x.shape[place.dim])
        shares = _APART * torch.rand(tuple(rows.shape), generator=self.generator)
        nearer = (rows + (others - rows) * shares.to(x.dtype)).to(x.dtype)
        return found.index_copy(place.dim, again, nearer)

    def _refer(self) -> None:
        """Make integers legal for the new sizes that they refer to."""
        relations = sorted(self.dimensions.relations, key=repr)
        for r in relations:
            if isinstance(r, SegmentsOf) and r.source in self.lengths:
                lengths = self.lengths[r.source]
                segments = torch.repeat_interleave(torch.arange(lengths.numel()), lengths)
                self.made[r.what] = segments.to(self.made[r.what].dtype)
        for what in sorted({r.what for r in relations if isinstance(r, Bound)} - set(self.lengths)):
            x = self.made[what]
            limit = min(self._size(r) - r.strict for r in relations if isinstance(r, Bound) and r.what == what)
            reaches = any(isinstance(r, Reaches) and r.what == what for r in relations)
            if Permutation(what) in self.dimensions.relations:
                self.made[what] = x.argsort().argsort().to(x.dtype)
            elif x.numel() and (
                int(x.max()) > limit or ((reaches or self._grows(what, limit)) and int(x.max()) < limit)
            ):
                self.made[what] = fit(x, limit, distinct=self.facts[what].distinct)
        for r in relations:
            if isinstance(r, Members) and r.what not in self.lengths:
                self.made[r.what] = nearest_members(self.made[r.what], self.made[r.table])

    def _grows(self, what: int, limit: int) -> bool:
        """Return whether integers are to be scaled up to a size that is larger than before."""
        bounds = [r for r in self.dimensions.relations if isinstance(r, Bound) and r.what == what]
        before = min(int(self.inputs[r.target].shape[r.dim]) - r.strict for r in bounds)
        return self.spread and limit > before and not self.facts[what].distinct

    def _size(self, r: Bound) -> int:
        return int(self.made[r.target].shape[r.dim])


def fit(x: torch.Tensor, limit: int, *, distinct: bool) -> torch.Tensor:
    """Scale integers so that the largest becomes `limit`; their order and negative values are kept.

    Args:
        x: The integers.
        limit: The largest legal value.
        distinct: Whether the values of each row must stay different, as far as there are enough values. Only values that are too large
            change then.
    """
    wide = x.to(torch.int64)
    if distinct and x.dim():
        width = x.shape[-1]
        ordered, order = wide.sort(dim=-1)
        fitted = torch.minimum(ordered, torch.arange(limit - width + 1, limit + 1).clamp(min=0))
        return torch.empty_like(wide).scatter(-1, order, fitted).to(x.dtype)
    high = int(wide.max())
    low = min(max(int(wide.min()), 0), limit)
    scaled = low + (wide - low) * (limit - low) // max(high - low, 1)
    return torch.where(wide < low, wide, scaled).to(x.dtype)


def nearest_members(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Replace each value that is not in a table by the next larger one that is, or by the largest; the order is kept.

    Args:
        x: The values.
        table: The one-dimensional table.
    """
    if table.numel() == 0 or bool(torch.isin(x, table).all()):
        return x
    ordered = table.sort().values
    return ordered[torch.searchsorted(ordered, x.to(table.dtype)).clamp(max=ordered.numel() - 1)].to(x.dtype)
