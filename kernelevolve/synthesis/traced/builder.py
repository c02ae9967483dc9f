"""The builder of programs, which collects buffers and statements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import sympy

from kernelevolve.synthesis.traced.expr import FLOATS, INTEGERS, Const, Expr, IndexTerm, Load, Op, Size
from kernelevolve.synthesis.traced.numbers import rounded, wrapped
from kernelevolve.synthesis.traced.program import (
    Axis,
    Buffer,
    Compute,
    Contract,
    Reduce,
    Role,
    Scan,
    Scatter,
    SegmentReduce,
    Sort,
    Statement,
)
from kernelevolve.synthesis.traced.virtual import Virtual, broadcast_at, common_dims, dims_of


class UnsupportedError(Exception):
    """The traced form cannot express a reference. The message names the unsupported part."""


class SizeError(UnsupportedError):
    """The traced form cannot express a reference whose sizes are free. It may be able to if they are fixed."""


def cast(expr: Expr, dtype: str) -> Expr:
    """Convert an expression to a dtype. Literals are converted here if the conversion is the same on every machine."""
    if expr.dtype == dtype:
        return expr
    if isinstance(expr, Const):
        if dtype == "bool":
            return Const(bool(expr.value), dtype)
        if dtype in FLOATS:
            return Const(rounded(float(expr.value), dtype), dtype)
        if math.isfinite(expr.value):
            return Const(wrapped(int(expr.value), dtype), dtype)
    return Op("cast", (expr,), dtype)


def compute_dtype(dtype: str) -> str:
    """Return the dtype in which arithmetic on a dtype is done."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


class Builder:
    """Collects the buffers and statements of a program. The same graph gives the same names."""

    def __init__(self) -> None:
        self.buffers: dict[str, Buffer] = {}
        self.statements: list[Statement] = []
        self.constants: dict[str, list[float | int | bool]] = {}
        self.conditions: dict[sympy.Basic, None] = {}
        """Conditions on sizes under which the statements are valid, in order."""
        self._axes = 0
        self._temporaries = 0

    def assume_equal(self, a: Size, b: Size) -> None:
        """Make it a condition of the program that two sizes are equal, where the export has not proven it."""
        if sympy.expand(a - b) != 0:
            self.conditions[sympy.Eq(a, b)] = None

    def axes(self, extents: Sequence[Size]) -> tuple[Axis, ...]:
        """Return new axes of the given extents."""
        out = []
        for extent in extents:
            out.append(Axis(sympy.Symbol(f"i{self._axes}", integer=True, nonnegative=True), extent))
            self._axes += 1
        return tuple(out)

    def buffer(self, extents: Sequence[Size], dtype: str, role: Role, name: str = "", attribute: str = "") -> Buffer:
        """Add a buffer. Without a name it gets the name of a temporary."""
        if not name:
            name = f"t{self._temporaries}"
            self._temporaries += 1
        if dtype not in (*FLOATS, *INTEGERS, "bool"):
            raise UnsupportedError(f"tensors of {dtype}")
        made = Buffer(name, tuple(extents), dtype, role, attribute)
        self.buffers[name] = made
        return made

    def source(self, shape: Sequence[Size], dtype: str, role: Role, name: str, attribute: str = "") -> Virtual:
        """Add a contiguous buffer for an input, a parameter or a constant."""
        dims = dims_of(shape)
        self.buffer([a for d in dims for a in d], dtype, role, name, attribute)
        return self.view_of(name, dims)

    def view_of(self, name: str, dims: tuple[tuple[Size, ...], ...]) -> Virtual:
        """Return a buffer as a tensor with the given atoms."""
        dtype = self.buffers[name].dtype
        return Virtual(dims, dtype, lambda index: Load(name, index, dtype))

    def compute(
        self,
        dims: tuple[tuple[Size, ...], ...],
        dtype: str,
        value: Callable[[tuple[IndexTerm, ...]], Expr],
        hint: str,
    ) -> Virtual:
        """Store a function of the index in a new buffer."""
        extents = [a for d in dims for a in d]
        axes = self.axes(extents)
        made = self.buffer(extents, dtype, Role.INTERMEDIATE)
        expr = cast(value(tuple(a.symbol for a in axes)), dtype)
        self.statements.append(Compute(made.name, axes, expr, hint))
        return self.view_of(made.name, dims)

    def pointwise(
        self, operands: Sequence[Virtual], shape: Sequence[Size], dtype: str, fn: Callable[..., Expr], hint: str
    ) -> Virtual:
        """Store `fn` of one element of each operand, broadcast to `shape`, in a new buffer."""
        dims = common_dims(operands, shape)
        return self.compute(dims, dtype, lambda index: fn(*(broadcast_at(v, dims, index) for v in operands)), hint)

    def reduce(
        self,
        v: Virtual,
        over: Sequence[int],
        keepdim: bool,
        kind: str,
        dtype: str,
        hint: str,
        fn: Callable[[Expr], Expr] | None = None,
    ) -> Virtual:
        """Reduce logical dimensions.

        Args:
            v: The operand.
            over: The logical dimensions to reduce.
            keepdim: Whether the reduced dimensions stay with extent 1.
            kind: A kind of `Reduce`.
            dtype: The dtype of the result, int64 for argmin and argmax.
            hint: The ATen operation.
            fn: A function applied to each element first; None for none.
        """
        axes = self.axes(v.atoms)
        by_dim: list[tuple[Axis, ...]] = []
        start = 0
        for atoms in v.dims:
            by_dim.append(axes[start : start + len(atoms)])
            start += len(atoms)
        kept = tuple(a for d, group in enumerate(by_dim) if d not in over for a in group)
        reduced = tuple(a for d, group in enumerate(by_dim) if d in over for a in group)
        element = v.at(tuple(a.symbol for a in axes))
        value = fn(element) if fn else element
        if kind in ("sum", "prod"):
            value = cast(value, compute_dtype(dtype))
        elif kind in ("any", "all"):
            value = cast(value, "bool")
        dims = tuple(() if d in over else atoms for d, atoms in enumerate(v.dims) if keepdim or d not in over)
        if not reduced and kind not in ("argmin", "argmax"):
            return self.compute(dims, dtype, lambda index: v.at(index) if not fn else fn(v.at(index)), hint)
        stored = compute_dtype(dtype)
        made = self.buffer([a.extent for a in kept], stored, Role.INTERMEDIATE)
        self.statements.append(Reduce(made.name, kept, reduced, kind, value, hint))
        out = self.view_of(made.name, dims)
        if stored == dtype:
            return out
        return self.compute(dims, dtype, out.at, "to half")

    def contract(
        self,
        dims: tuple[tuple[Size, ...], ...],
        reduced: Sequence[Size],
        dtype: str,
        left: Callable[[tuple[IndexTerm, ...], tuple[IndexTerm, ...]], Expr],
        right: Callable[[tuple[IndexTerm, ...], tuple[IndexTerm, ...]], Expr],
        hint: str,
    ) -> Virtual:
        """Sum left * right over `reduced`.

        Args:
            dims: The atoms of the result.
            reduced: The extents of the sum.
            dtype: The dtype of the result.
            left: The first factor as a function of the output index and the reduced index; it must be a `Load`.
            right: The second factor, likewise.
            hint: The ATen operation.

        Raises:
            UnsupportedError: A factor is not a `Load`.
        """
        extents = [a for d in dims for a in d]
        axes, over = self.axes(extents), self.axes(reduced)
        index = tuple(a.symbol for a in axes), tuple(a.symbol for a in over)
        a, b = left(*index), right(*index)
        if not (isinstance(a, Load) and isinstance(b, Load)):
            raise UnsupportedError(f"{hint} of an operand that is not stored")
        stored = compute_dtype(dtype)
        made = self.buffer(extents, stored, Role.INTERMEDIATE)
        if dtype in INTEGERS:
            product = Op("mul", (cast(a, dtype), cast(b, dtype)), dtype)
            self.statements.append(Reduce(made.name, axes, over, "sum", product, hint))
        else:
            self.statements.append(Contract(made.name, axes, over, a, b, hint))
        out = self.view_of(made.name, dims)
        if stored == dtype:
            return out
        return self.compute(dims, dtype, out.at, "to half")

    def scan(self, v: Virtual, dim: int, kind: str, dtype: str, hint: str) -> Virtual:
        """Store the running combination along a logical dimension, of a kind of `Scan`."""
        if len(v.dims[dim]) != 1:
            if not v.dims[dim]:
                return self.compute(v.dims, dtype, v.at, hint)
            merged = dims_of(v.shape)
            inner, v = v, Virtual(merged, v.dtype, lambda index: inner.at_dims(_spread(index, merged)))
        axes = self.axes(v.atoms)
        along = axes[sum(len(d) for d in v.dims[:dim])]
        made = self.buffer(v.atoms, compute_dtype(dtype), Role.INTERMEDIATE)
        value = cast(v.at(tuple(a.symbol for a in axes)), made.dtype)
        self.statements.append(Scan(made.name, axes, along, kind, value, hint))
        out = self.view_of(made.name, v.dims)
        return out if made.dtype == dtype else self.compute(v.dims, dtype, out.at, "to half")

    def sort(self, v: Virtual, dim: int, count: Size, descending: bool, hint: str) -> Virtual:
        """Store the first `count` indices along a dimension, as int64, in the sorted order of their elements."""
        dims = dims_of(v.shape)
        if not dims[dim]:
            return Virtual(dims, "int64", lambda _: Const(0, "int64"))
        place = sum(len(d) for d in dims[:dim])
        axes = self.axes([*(e for d in dims[:dim] for e in d), count, *(e for d in dims[dim + 1 :] for e in d)])
        (position,) = self.axes([v.shape[dim]])
        symbols = [a.symbol for a in axes]
        symbols[place] = position.symbol
        value = cast(v.at_dims(_spread(tuple(symbols), dims)), compute_dtype(v.dtype))
        made = self.buffer([a.extent for a in axes], "int64", Role.INTERMEDIATE)
        self.statements.append(Sort(made.name, axes, axes[place], position, descending, value, hint))
        return self._view_along(made, (*dims[:dim], (count,), *dims[dim + 1 :]), dim)

    def _view_along(self, made: Buffer, dims: tuple[tuple[Size, ...], ...], dim: int) -> Virtual:
        """Return a buffer that has an extent for dimension `dim` even if that is 1, as a tensor."""
        if made.extents[place := sum(len(d) for d in dims[:dim])] != 1:
            return self.view_of(made.name, dims)

        def first(index: tuple[IndexTerm, ...]) -> Expr:
            return Load(made.name, (*index[:place], sympy.Integer(0), *index[place:]), made.dtype)

        return Virtual((*dims[:dim], (), *dims[dim + 1 :]), made.dtype, first)

    def segment_reduce(
        self,
        segments: Size,
        rest: tuple[tuple[Size, ...], ...],
        bound: Size,
        dtype: str,
        bounds: Callable[[IndexTerm], tuple[Expr, Expr]],
        value: Callable[[IndexTerm, tuple[IndexTerm, ...]], Expr],
        kind: str,
        hint: str,
    ) -> Virtual:
        """Combine the elements of each segment.

        Args:
            segments: The number of segments, the first dimension of the result.
            rest: The atoms of the further dimensions.
            bound: An upper bound of the positions.
            dtype: The dtype of the result.
            bounds: The first position of a segment and the one after its last, as functions of the segment.
            value: The element at a position and an index over `rest`.
            kind: A kind of `SegmentReduce`.
            hint: The ATen operation.
        """
        (segment,), (position,) = self.axes([segments]), self.axes([bound])
        others = self.axes([a for d in rest for a in d])
        first, last = bounds(segment.symbol)
        element = cast(value(position.symbol, tuple(a.symbol for a in others)), dtype)
        made = self.buffer([segments, *(a.extent for a in others)], dtype, Role.INTERMEDIATE)
        statement = SegmentReduce(made.name, (segment, *others), position, first, last, kind, element, hint)
        self.statements.append(statement)
        return self._view_along(made, ((segments,), *rest), 0)

    def scatter(
        self,
        initial: Virtual,
        extents: Sequence[Size],
        index: Callable[[tuple[IndexTerm, ...]], tuple[Expr, ...]],
        value: Callable[[tuple[IndexTerm, ...]], Expr],
        kind: str,
        hint: str,
    ) -> Virtual:
        """Store a copy of `initial` with elements replaced by or combined with others.

        Args:
            initial: The initial elements.
            extents: The extents of the scattered elements.
            index: The target of an element, with one term per logical dimension of `initial`.
            value: The element.
            kind: A kind of `Scatter`.
            hint: The ATen operation.
        """
        dims = dims_of(initial.shape)
        made = self.buffer([a for d in dims for a in d], initial.dtype, Role.INTERMEDIATE)
        axes, first = self.axes(extents), self.axes([a for d in dims for a in d])
        symbols = tuple(a.symbol for a in axes)
        start = initial.at_dims(_spread(tuple(a.symbol for a in first), dims))
        target = tuple(t for t, d in zip(index(symbols), dims, strict=True) if d)
        element = cast(value(symbols), initial.dtype)
        self.statements.append(Scatter(made.name, axes, target, element, kind, first, start, hint))
        return self.view_of(made.name, dims)

    def constant(self, shape: Sequence[Size], dtype: str, values: list[float | int | bool], name: str) -> Virtual:
        """Add a constant buffer with the given values, flat and row-major."""
        self.constants[name] = values
        return self.source(shape, dtype, Role.CONSTANT, name)


def _spread(index: tuple[IndexTerm, ...], dims: tuple[tuple[Size, ...], ...]) -> list[IndexTerm]:
    """Return an index with one term per logical dimension, 0 for those without atoms."""
    terms = iter(index)
    return [next(terms) if d else sympy.Integer(0) for d in dims]
