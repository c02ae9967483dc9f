"""Virtual tensors: a tensor as a function from an index to a value, so that views need no copies.

Each logical dimension is a product of *atoms*, the extents of the loops that will run over it. A reshape regroups
atoms, or splits one (index = outer * inner_extent + inner). Index expressions therefore stay affine; division and
modulus appear only if a reshape cuts across atoms. A dimension of extent 1 has no atom.
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
    """A tensor as a function from an index to the element."""

    dims: tuple[tuple[Size, ...], ...]
    """The atoms of each logical dimension."""
    dtype: str
    at: Callable[[tuple[IndexTerm, ...]], Expr]
    """The element at an index, with one term per atom, all dimensions in order."""

    @property
    def shape(self) -> tuple[Size, ...]:
        """The extents of the logical dimensions."""
        return tuple(sympy.expand(prod(d, start=ONE)) for d in self.dims)

    @property
    def atoms(self) -> tuple[Size, ...]:
        """The atoms of all dimensions, in order."""
        return tuple(a for d in self.dims for a in d)

    def at_dims(self, index: Sequence[IndexTerm]) -> Expr:
        """Return the element at an index with one term per logical dimension."""
        flat: list[IndexTerm] = []
        for term, atoms in zip(index, self.dims, strict=True):
            flat.extend(unravel(term, atoms))
        return self.at(tuple(flat))


def dims_of(shape: Sequence[Size]) -> tuple[tuple[Size, ...], ...]:
    """Return the atoms of a shape whose dimensions are not split."""
    return tuple(() if s == 1 else (s,) for s in shape)


def ravel(index: Sequence[IndexTerm], atoms: Sequence[Size]) -> IndexTerm:
    """Return the row-major position of an index over atoms."""
    position: IndexTerm = ZERO
    for term, extent in zip(index, atoms, strict=True):
        position = index_add(index_mul(position, extent), term)
    return position


def unravel(term: IndexTerm, atoms: Sequence[Size]) -> list[IndexTerm]:
    """Return the index over atoms of a row-major position, the inverse of `ravel`."""
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
    """Return a / b if b divides a, otherwise None."""
    ratio = sympy.cancel(a / b)
    numerator, denominator = sympy.fraction(ratio)
    return sympy.expand(numerator) if denominator == 1 else None


def refine(a: Sequence[Size], b: Sequence[Size]) -> list[Size] | None:
    """Return the coarsest atoms that can be grouped to `a` and to `b`, which have equal products; None without any."""
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
    """Convert an index over the atoms `fine` to one over `coarse`, which `fine` refines."""
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
    """Return a tensor with the same elements in row-major order and another shape."""
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
    """Return atoms of a result of the given shape that refine those of all operands, as far as possible."""
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
    """Return the element of an operand at an index over the atoms `dims` of a result that it broadcasts to."""
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
