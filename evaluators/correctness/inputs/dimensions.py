"""Detection of the dimensions of inputs that are free, and of those that are tied to one another, to values or to the model.

The evidence is, the strongest first: sizes that vary over the task's variants, torch.export, and the integers that the model was built
with. Equal sizes are tied unless a draw or torch.export shows otherwise: a superfluous tie excludes some legal inputs, but a missing tie
makes illegal ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from evaluators.correctness.inputs.exporting import Evidence, Symbolic
from evaluators.correctness.inputs.facts import Facts
from evaluators.correctness.inputs.groups import Dimensions, Place, SizeGroup
from evaluators.correctness.inputs.model_numbers import ModelNumbers
from evaluators.correctness.inputs.relations import (
    Bound,
    Form,
    Jagged,
    Longest,
    Reaches,
    Relation,
    Rises,
    find_relations,
    held_in_all,
    rises_from_zero,
    row_lengths,
)

_GROWTH = 2.25
"""The largest hidden size, as a multiple of the main size (plus 4)."""


@dataclass(frozen=True)
class Draw:
    """The properties of one draw of inputs that matter for their dimensions."""

    kinds: tuple[str, ...]
    """The dtype and the number of dimensions of each input, or the type of a plain value."""
    sizes: Mapping[tuple[int, int], int]
    """The size of each dimension, by (input, dimension)."""
    numbers: Mapping[int, int]
    """The integers among the inputs, including integer tensors of one element: the index of the input -> its value."""
    relations: frozenset[Relation]
    """The relations that hold in this draw."""
    longest: Mapping[int, int]
    """The length of the longest row of each input that may be jagged."""


def observe(inputs: Sequence[Any]) -> Draw:
    """Return the properties of one draw of inputs, without its tensors."""
    relations = find_relations(inputs)
    longest = {
        i: int(x.diff().max()) for i, x in enumerate(inputs) if isinstance(x, torch.Tensor) and rises_from_zero(x)
    }
    for r in relations:
        if isinstance(r, Jagged):
            lengths = row_lengths(inputs[r.source], r.form, int(inputs[r.target].shape[r.dim]))
            longest[r.source] = max(longest.get(r.source, 0), int(lengths.max()))
    tensors = [(i, x) for i, x in enumerate(inputs) if isinstance(x, torch.Tensor)]
    numbers = {i: x for i, x in enumerate(inputs) if isinstance(x, int) and not isinstance(x, bool)}
    for i, x in tensors:
        if x.numel() == 1 and not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool):
            numbers[i] = int(x)
    return Draw(
        kinds=tuple(f"{x.dtype} {x.dim()}" if isinstance(x, torch.Tensor) else type(x).__name__ for x in inputs),
        sizes={(i, d): int(size) for i, x in tensors for d, size in enumerate(x.shape)},
        numbers=numbers,
        relations=relations,
        longest=longest,
    )


@dataclass
class _Variable:
    """A group that is being built."""

    places: list[Place]
    """The dimensions of the group."""
    low: int
    """The smallest n that may be legal."""
    high: int
    """The largest n that may be legal."""
    frozen: str = ""
    """The reason why n is fixed; empty where none is known."""
    follows: bool = False
    """Whether n is the number of values of a jagged input."""
    exported: bool = False
    """Whether torch.export leaves n free."""
    bound: int | None = None
    """The largest n that torch.export allows; None where it states no limit."""
    specialised: bool = False
    """Whether torch.export fixes n."""
    sizes: list[int] = field(default_factory=list)
    """The n of each draw, those of the main inputs first."""


def find_dimensions(
    main: Sequence[Draw],
    variants: Sequence[Draw],
    facts: Mapping[int, Facts],
    evidence: Evidence,
    numbers: ModelNumbers,
) -> Dimensions:
    """Group the dimensions of a task's inputs.

    Args:
        main: Draws of the main inputs under several seeds, at least one.
        variants: One draw of each variant; those with other ranks or dtypes than the main inputs are ignored.
        facts: The facts of each tensor, by the index of the input.
        evidence: The findings of torch.export.
        numbers: The integers that the model was built with.
    """
    draws = [*main, *(v for v in variants if v.kinds == main[0].kinds)]
    return _Search(draws, len(main), facts, evidence, numbers).found()


class _Search:
    """Joins dimensions into variables, then decides for each variable whether it is free."""

    def __init__(
        self, draws: Sequence[Draw], main: int, facts: Mapping[int, Facts], evidence: Evidence, numbers: ModelNumbers
    ) -> None:
        self.draws = draws
        self.main = main
        self.facts = facts
        self.evidence = evidence
        self.numbers = numbers
        self.relations = held_in_all([d.relations for d in draws])
        self.jagged = [r for r in self.relations if isinstance(r, Jagged)]
        self.variables = self._start()

    def found(self) -> Dimensions:
        """Run the search and return the groups."""
        self._count_rows()
        self._tie()
        for v in self.variables:
            v.frozen = v.frozen or self._fixed(v)
        self._follow()
        self._limit()
        groups = sorted((self._group(v) for v in self.variables), key=lambda g: (g.places[0].source, g.places[0].dim))
        return Dimensions(groups=tuple(groups), relations=self.relations)

    def _start(self) -> list[_Variable]:
        """Return a variable for each symbol of torch.export that agrees with the draws, and one for each other dimension."""
        symbols: dict[str, list[Place]] = {}
        for (i, d), size in self.evidence.sizes.items():
            if isinstance(size, Symbolic):
                symbols.setdefault(size.symbol, []).append(Place(i, d, size.scale, size.shift))
        variables = []
        left = set(self.draws[0].sizes)
        for symbol, places in symbols.items():
            sizes = [self._numbers_of(places, draw) for draw in self.draws]
            if None not in sizes:
                low, high = self.evidence.ranges.get(symbol, (1, None))
                known = [s for s in sizes if s is not None]
                limit = max(known) if high is not None and high < max(known) else high
                made = _Variable(places, min(low, *known), _grown(max(known)) if limit is None else limit, sizes=known)
                made.exported = True
                made.bound = high
                variables.append(made)
                left -= {(p.source, p.dim) for p in places}
        for i, d in sorted(left):
            sizes_ = [draw.sizes[i, d] for draw in self.draws]
            made = _Variable([Place(i, d)], min(sizes_), max(sizes_), sizes=sizes_)
            made.specialised = isinstance(self.evidence.sizes.get((i, d)), int) and len(set(sizes_)) == 1
            variables.append(made)
        return variables

    @staticmethod
    def _numbers_of(places: Sequence[Place], draw: Draw) -> int | None:
        """Return the n that the sizes of all places give; None where they disagree."""
        found = set()
        for p in places:
            n, rest = divmod(draw.sizes[p.source, p.dim] - p.shift, p.scale)
            if rest:
                return None
            found.add(n)
        return found.pop() if len(found) == 1 else None

    def _variable(self, source: int, dim: int) -> _Variable:
        return next(v for v in self.variables if any((p.source, p.dim) == (source, dim) for p in v.places))

    def _count_rows(self) -> None:
        """Make n the number of rows where an input of offsets has one element more."""
        for r in self.jagged:
            if r.form is not Form.OFFSETS:
                continue
            v = self._variable(r.source, 0)
            own = next(p for p in v.places if (p.source, p.dim) == (r.source, 0))
            if own.scale == 1 and own.shift != 1:
                by = 1 - own.shift
                v.places = [replace(p, shift=p.shift + p.scale * by) for p in v.places]
                v.low, v.high, v.sizes = max(v.low - by, 0), v.high - by, [n - by for n in v.sizes]

    def _tie(self) -> None:
        """Join variables that are equal in every draw, and varying ones that differ by a constant factor or a constant."""
        merged = True
        while merged:
            merged = False
            for a in self.variables:
                for b in self.variables:
                    if a is b:
                        continue
                    step = self._step(a, b)
                    if step is not None:
                        self._join(a, b, *step)
                        merged = True
                        break
                if merged:
                    break
        for a in self.variables:
            for b in self.variables:
                if a is not b and any(self._alike(p, q) for p in a.places for q in b.places):
                    a.frozen = a.frozen or "its size is another's in a way that is not understood"

    def _step(self, a: _Variable, b: _Variable) -> tuple[int, int] | None:
        """Return (k, c) where a = k b + c in every draw; None where there are none."""
        if a.sizes == b.sizes:
            return None if _by_chance(a, b) or _by_chance(b, a) or self._apart(a, b) else (1, 0)
        if len(set(b.sizes)) == 1 or len(set(a.sizes)) == 1:
            return None
        k, rest = divmod(a.sizes[0], b.sizes[0]) if b.sizes[0] else (0, 0)
        if k > 1 and not rest and all(x == k * y for x, y in zip(a.sizes, b.sizes, strict=True)):
            return k, 0
        c = a.sizes[0] - b.sizes[0]
        if c > 0 and all(x == y + c for x, y in zip(a.sizes, b.sizes, strict=True)):
            return 1, c
        return None

    def _apart(self, a: _Variable, b: _Variable) -> bool:
        """Return whether two equal dimensions of one input are independent, as height and width of an image are.

        torch.export would have found that they must be equal, and it leaves each of them free.
        """
        if not (a.exported and b.exported) or len(set(a.sizes)) > 1:
            return False
        shared = {p.source for p in a.places} & {p.source for p in b.places}
        return bool(shared) and not any(self.facts[i].square or self.facts[i].cut_only for i in shared)

    def _join(self, a: _Variable, b: _Variable, k: int, c: int) -> None:
        b.places += [replace(p, scale=p.scale * k, shift=p.shift + p.scale * c) for p in a.places]
        b.low, b.high = max(b.low, -((c - a.low) // k)), min(b.high, (a.high - c) // k)
        b.exported = b.exported or a.exported
        b.specialised = b.specialised or a.specialised
        b.frozen = b.frozen or a.frozen
        self.variables = [v for v in self.variables if v is not a]

    def _alike(self, p: Place, q: Place) -> bool:
        """Return whether two places of different variables have equal sizes in every draw though they depend on n differently."""
        if (p.scale, p.shift) == (q.scale, q.shift):
            return False
        return all(d.sizes[p.source, p.dim] == d.sizes[q.source, q.dim] for d in self.draws)

    def _fixed(self, v: _Variable) -> str:
        """Return why a variable is fixed; empty where it is free."""
        places = [(p.source, p.dim) for p in v.places]
        if any((r.target, r.dim) in places for r in self.jagged):
            return ""
        if len(set(v.sizes[: self.main])) > 1:
            return "it follows from values in a way that is not understood"
        if all(d.sizes[p] <= 1 for d in self.draws for p in places):
            return "of size 1"
        for i in self.draws[0].numbers:
            if any(all(d.sizes[p] == d.numbers[i] for d in self.draws) for p in places):
                return f"x{i} gives its size"
        if len(set(v.sizes)) > 1:
            return ""
        if self.evidence.failure:
            return f"no variant varies it, and torch.export fails: {self.evidence.failure}"
        if v.specialised or not v.exported:
            return "torch.export fixes it"
        # A free size may equal an unrelated number by chance: 64 samples and 64 outputs, 2 samples and a stride of 2, 8 channels of 8 x 8.
        numbers = frozenset() if _leading(v) else self.numbers.told | self.numbers.shapes
        numbers -= frozenset.intersection(*(self._sizes_fixed_in(p.source) for p in v.places))
        if v.bound is not None:
            numbers -= {v.bound}  # It is the length of a table of which forward takes a part.
        numbers |= self.evidence.numbers
        if any(d.sizes[p] in numbers for d in self.draws for p in places):
            return "no variant varies it, and the model names that number"
        return ""

    def _sizes_fixed_in(self, source: int) -> frozenset[int]:
        return frozenset(s for (i, _), s in self.evidence.sizes.items() if i == source and isinstance(s, int))

    def _follow(self) -> None:
        """Let the number of values follow from the number of rows of understood jagged inputs, and fix both of all others."""
        unknown = any(v.frozen.startswith("it follows from values") for v in self.variables)
        for r in self.jagged:
            rows, total = self._variable(r.source, 0), self._variable(r.target, r.dim)
            total.follows = True
            rivals = [s for s in self.jagged if self._variable(s.target, s.dim) is total or s.source == r.source]
            own = next(p for p in rows.places if (p.source, p.dim) == (r.source, 0))
            understood = (
                rows is not total
                and all(self._variable(s.source, 0) is rows for s in rivals)
                and all(self._variable(s.target, s.dim) is total for s in rivals)
                and len({s.form for s in rivals if s.source == r.source}) == 1
                and (own.scale, own.shift) == (1, int(r.form is Form.OFFSETS))
                and all((p.scale, p.shift) == (1, 0) for p in total.places)
                and all((p.scale, p.shift) == (1, 0) for p in rows.places if not self._is_offsets(p))
            )
            if not understood:
                rows.frozen = rows.frozen or "how values are split into rows is not understood"
                total.frozen = total.frozen or "how values are split into rows is not understood"
            elif total.specialised and len(set(total.sizes)) == 1:
                rows.frozen = rows.frozen or "the number of values is fixed"
        for found in self.relations:
            if isinstance(found, Reaches) and self._splits_in_another_way(found):
                last = max(d for i, d in self.draws[0].sizes if i == found.what)
                for v in (self._variable(found.what, last), self._variable(found.target, found.dim)):
                    v.frozen = v.frozen or f"x{found.what} may split it in a way that is not understood"
        for v in self.variables:
            if unknown and any(self.draws[0].kinds[p.source].startswith(("torch.int", "torch.uint")) for p in v.places):
                v.frozen = v.frozen or "other sizes follow from values in a way that is not understood"

    def _splits_in_another_way(self, r: Reaches) -> bool:
        """Return whether an input looks like offsets into a dimension but is no known jagged input."""
        known = any(s.source == r.what for s in self.jagged)
        strict = Bound(r.what, r.target, r.dim, strict=True) in self.relations
        return Rises(r.what) in self.relations and not known and not strict

    def _is_offsets(self, place: Place) -> bool:
        return any(r.source == place.source and r.form is Form.OFFSETS for r in self.jagged)

    def _limit(self) -> None:
        """Narrow the legal ranges by integers among the inputs, by rows, and by inputs that cannot be extended."""
        first = self.draws[: self.main]
        for v in self.variables:
            v.low = max(v.low, 1, *(-((p.shift - 1) // p.scale) for p in v.places))
            v.high = min(v.high, _grown(v.sizes[0]))
            for p in v.places:
                key = (p.source, p.dim)
                for i, number in self.draws[0].numbers.items():
                    if all(d.numbers[i] >= d.sizes[key] for d in self.draws):
                        v.high = min(v.high, (number - p.shift) // p.scale)
                    if all(d.numbers[i] <= d.sizes[key] for d in self.draws):
                        v.low = max(v.low, -((p.shift - number) // p.scale))
                if self._cannot_grow(p):
                    v.high = min(v.high, v.sizes[0])
        for r in self.relations:
            if isinstance(r, Longest):
                v = self._variable(r.target, r.dim)
                if not v.follows and v is not self._variable(r.source, 0):
                    v.low = max(v.low, *(d.longest[r.source] for d in first))
        for r in self.jagged:
            rows, total = self._variable(r.source, 0), self._variable(r.target, r.dim)
            if any(self._cannot_grow(p) for p in total.places):
                rows.high = min(rows.high, rows.sizes[0])

    def _cannot_grow(self, p: Place) -> bool:
        facts = self.facts[p.source]
        last = max(d for i, d in self.draws[0].sizes if i == p.source)
        return bool(facts.cut_only) and (p.dim == last or facts.constant or bool(facts.square))

    def _group(self, v: _Variable) -> SizeGroup:
        size = v.sizes[0]
        free = not v.frozen and not v.follows and v.low <= v.high and (v.low, v.high) != (size, size)
        if v.frozen:
            why = v.frozen
        elif v.follows:
            sources = [r.source for r in self.jagged if self._variable(r.target, r.dim) is v]
            why = f"it follows from the rows of x{min(sources)}"
        elif not free:
            why = "no other size is known to be legal"
        else:
            why = "it varies over the variants" if len(set(v.sizes)) > 1 else "torch.export leaves it free"
        places = tuple(sorted(v.places, key=lambda p: (p.source, p.dim)))
        return SizeGroup(places, size, v.low, v.high, free, why, v.follows and not v.frozen, frozenset(v.sizes))


def _leading(v: _Variable) -> bool:
    """Return whether all places are first dimensions, which count rows or samples."""
    return all(p.dim == 0 for p in v.places)


def _by_chance(a: _Variable, b: _Variable) -> bool:
    """Return whether a free size equals a fixed one by chance, as with 256 samples of 256 features, or 8 channels of 8 x 8."""
    return a.exported and b.specialised


def _grown(size: int) -> int:
    return int(size * _GROWTH) + 4
