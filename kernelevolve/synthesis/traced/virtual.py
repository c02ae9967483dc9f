"""Virtual tensors: a tensor as a function from index to value. Views cost nothing here.

Each logical dimension is a product of *atoms*, the extents of the loops that will run over it. Reshaping regroups atoms, or
splits one (index = outer * inner_extent + inner); so index expressions stay affine, and div/mod appears only where a reshape
cuts across atoms. A dimension of extent 1 has no atom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import sympy

from kernelevolve.synthesis.traced.expr import (
    Expr,
    IndexTerm,
    IndexValue,
    Op,
    Size,
    as_expr,
    index_add,
    index_mul,
)

ONE = sympy.Integer(1)
ZERO = sympy.Integer(0)


@dataclass(frozen=True)
class Virtual:
    """`at` maps one index term per atom, all dimensions in order, to the element."""

    dims: tuple[tuple[Size, ...], ...]
    dtype: str
    at: Callable[[tuple[IndexTerm, ...]], Expr]

    @property
    def shape(self) -> tuple[Size, ...]:
        return tuple(sympy.expand(prod(d, start=ONE)) for d in self.dims)

    @property
    def atoms(self) -> tuple[Size, ...]:
        return tuple(a for d in self.dims for a in d)

    def at_dims(self, index: Sequence[IndexTerm]) -> Expr:
        """The element at one index term per logical dimension."""
        flat: list[IndexTerm] = []
        for term, atoms in zip(index, self.dims, strict=True):
            flat.extend(unravel(term, atoms))
        return self.at(tuple(flat))


def dims_of(shape: Sequence[Size]) -> tuple[tuple[Size, ...], ...]:
    return tuple(() if s == 1 else (s,) for s in shape)


def ravel(index: Sequence[IndexTerm], atoms: Sequence[Size]) -> IndexTerm:
    """Row-major position of an index over atoms."""
    position: IndexTerm = ZERO
    for term, extent in zip(index, atoms, strict=True):
        position = index_add(index_mul(position, extent), term)
    return position


def unravel(term: IndexTerm, atoms: Sequence[Size]) -> list[IndexTerm]:
    """The inverse of `ravel`."""
    if not atoms:
        return []
    parts: list[IndexTerm] = []
    for extent in reversed(atoms[1:]):
        parts.append(_mod(term, extent))
        term = _div(term, extent)
    return [term, *reversed(parts)]


def _div(term: IndexTerm, by: Size) -> IndexTerm:
    if isinstance(term, sympy.Basic):
        return sympy.floor(term / by)
    return Op("floordiv", (as_expr(term), IndexValue(by)), "int64")


def _mod(term: IndexTerm, by: Size) -> IndexTerm:
    if isinstance(term, sympy.Basic):
        return sympy.Mod(term, by)
    return Op("mod", (as_expr(term), IndexValue(by)), "int64")


def _quotient(a: Size, b: Size) -> Size | None:
    """a / b where b divides a, else None."""
    ratio = sympy.cancel(a / b)
    numerator, denominator = sympy.fraction(ratio)
    return sympy.expand(numerator) if denominator == 1 else None


def refine(a: Sequence[Size], b: Sequence[Size]) -> list[Size] | None:
    """The coarsest factorisation that both can be grouped from, or None. Their products must be equal."""
    left, right, out = list(a), list(b), list[Size]()
    while left and right:
        x, y = left.pop(), right.pop()
        if sympy.expand(x - y) == 0:
            out.append(x)
        elif (q := _quotient(x, y)) is not None:
            out.append(y)
            left.append(q)
        elif (q := _quotient(y, x)) is not None:
            out.append(x)
            right.append(q)
        else:
            return None
    return None if left or right else out[::-1]


def regroup(index: Sequence[IndexTerm], fine: Sequence[Size], coarse: Sequence[Size]) -> list[IndexTerm]:
    """An index over `coarse` from one over `fine`, which refines it."""
    terms, extents, out = list(index), list(fine), list[IndexTerm]()
    for want in coarse:
        have: Size = ONE
        taken: list[tuple[IndexTerm, Size]] = []
        while sympy.expand(have - want) != 0:
            taken.append((terms.pop(0), extents[0]))
            have = have * extents.pop(0)
        out.append(ravel([t for t, _ in taken], [e for _, e in taken]))
    return out


def reshape(v: Virtual, shape: Sequence[Size]) -> Virtual:
    """The same elements in row-major order under another shape."""
    wanted = [s for s in shape if s != 1]
    fine = refine(v.atoms, wanted)
    if fine is None:

        def across(index: tuple[IndexTerm, ...]) -> Expr:
            return v.at(tuple(unravel(ravel(index, wanted), v.atoms)))

        return Virtual(dims_of(shape), v.dtype, across)
    rest = list(fine)
    dims: list[tuple[Size, ...]] = []
    for size in shape:
        have: Size = ONE
        chunk: list[Size] = []
        while sympy.expand(have - size) != 0:
            chunk.append(rest[0])
            have = have * rest.pop(0)
        dims.append(tuple(chunk))
    return Virtual(tuple(dims), v.dtype, lambda index: v.at(tuple(regroup(index, fine, v.atoms))))


def common_dims(operands: Sequence[Virtual], shape: Sequence[Size]) -> tuple[tuple[Size, ...], ...]:
    """Atoms for a result of the given shape, fine enough for every operand where that is possible."""
    dims: list[tuple[Size, ...]] = []
    for position, size in enumerate(shape):
        atoms: list[Size] = [] if size == 1 else [size]
        for v in operands:
            offset = position - (len(shape) - len(v.dims))
            if offset >= 0 and v.dims[offset]:
                finer = refine(atoms, v.dims[offset])
                atoms = atoms if finer is None else finer
        dims.append(tuple(atoms))
    return tuple(dims)


def broadcast_at(v: Virtual, dims: Sequence[tuple[Size, ...]], index: tuple[IndexTerm, ...]) -> Expr:
    """The element of an operand for an index over the atoms of a result that it broadcasts to."""
    flat: list[IndexTerm] = []
    start = 0
    for position, atoms in enumerate(dims):
        terms = index[start : start + len(atoms)]
        start += len(atoms)
        offset = position - (len(dims) - len(v.dims))
        if offset < 0 or not v.dims[offset]:
            continue
        own = v.dims[offset]
        if refine(atoms, own) == list(atoms):
            flat.extend(regroup(terms, atoms, own))
        else:
            flat.extend(unravel(ravel(terms, atoms), own))
    return v.at(tuple(flat))
