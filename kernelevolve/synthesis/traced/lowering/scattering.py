"""Lowerings of writes at loaded indices."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod

import sympy

from kernelevolve.synthesis.traced.builder import UnsupportedError, cast, compute_dtype
from kernelevolve.synthesis.traced.expr import (
    FLOATS,
    Const,
    Expr,
    IndexTerm,
    IndexValue,
    Op,
    Size,
    index_add,
    index_mul,
)
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, dim_of, operand, scalar, size
from kernelevolve.synthesis.traced.lowering.indexing import logical_index, wrapped
from kernelevolve.synthesis.traced.numbers import limits
from kernelevolve.synthesis.traced.virtual import ONE, ZERO, Virtual, broadcast_at, dims_of, reshape

_KINDS = {"add": "sum", "sum": "sum", "multiply": "prod", "prod": "prod", "amax": "max", "amin": "min", "mean": "sum"}
"""The kind of `Scatter` of each reduction of ATen."""

_Index = tuple[IndexTerm, ...]


def _ones(v: Virtual, logical: list[IndexTerm]) -> list[IndexTerm]:
    return [ZERO if s == 1 else t for s, t in zip(v.shape, logical, strict=True)]


def _numbers(terms: list[IndexTerm]) -> list[Expr]:
    return [IndexValue(t) if isinstance(t, sympy.Basic) else t for t in terms]


def _along(index: Virtual, dim: int, whole: bool) -> Callable[[_Index], tuple[Expr, ...]]:
    """Return the target of an element: its own index, with that of one dimension replaced.

    Args:
        index: The replacing indices.
        dim: The dimension.
        whole: Whether `index` has an element for each of the source, rather than one for each index along `dim`.
    """

    def target(at: _Index) -> tuple[Expr, ...]:
        logical = list(at)
        out = _numbers(logical)
        out[dim] = cast(index.at_dims(_ones(index, logical if whole else [logical[dim]])), "int64")
        return tuple(out)

    return target


def _scattered(
    call: Call,
    v: Virtual,
    shape: tuple[Size, ...],
    target: Callable[[_Index], tuple[Expr, ...]],
    source: Virtual,
    kind: str,
) -> Virtual:
    """Scatter a source of the given shape into `v`. `target` takes a logical index over `shape`."""
    dims = dims_of(shape)

    def value(at: _Index) -> Expr:
        return source.at_dims(_ones(source, logical_index(at, dims))) if source.dims else source.at(())

    def place(at: _Index) -> tuple[Expr, ...]:
        return target(tuple(logical_index(at, dims)))

    return call.builder.scatter(v, [a for d in dims for a in d], place, value, kind, call.name)


def _scatter(call: Call) -> Virtual:
    """Lower scatter and scatter_add, with or without the `reduce` argument."""
    v, index = call.tensor(0), call.tensor(2)
    dim = dim_of(call.args[1], max(len(v.dims), 1))
    kind = "sum" if "scatter_add" in call.name else _KINDS.get(str(call.get(4, "reduce", "")), "set")
    source = operand(call.args[3], v.dtype)
    return _scattered(call, v, index.shape, _along(index, dim, whole=True), source, kind)


def _index_add(call: Call) -> Virtual:
    v, index, source = call.tensor(0), call.tensor(2), call.tensor(3)
    dim = dim_of(call.args[1], max(len(v.dims), 1))
    alpha = call.kwargs.get("alpha", 1)
    if alpha != 1:
        work = compute_dtype(v.dtype)
        source = call.builder.pointwise(
            [source], source.shape, v.dtype, lambda x: Op("mul", (cast(x, work), scalar(alpha, work)), work), call.name
        )
    return _scattered(call, v, source.shape, _along(index, dim, whole=False), source, "sum")


def _reduced(*, whole: bool) -> Lowering:
    """Return a lowering of scatter_reduce, with `whole` as in `_along`, or of index_reduce."""

    def lower(call: Call) -> Virtual:
        v, index, source = call.tensor(0), call.tensor(2), call.tensor(3)
        dim = dim_of(call.args[1], max(len(v.dims), 1))
        name, include = str(call.args[4]), bool(call.get(5, "include_self", True))
        kind = _KINDS[name]
        shape = index.shape if whole else source.shape
        target = _along(index, dim, whole)
        b = call.builder

        def counted(start: Virtual) -> Virtual:
            one = Virtual((), start.dtype, lambda _: Const(1, start.dtype))
            return _scattered(call, start, shape, target, one, "sum")

        def filled(dtype: str, number: float) -> Virtual:
            return Virtual(dims_of(v.shape), dtype, lambda _: scalar(number, dtype))

        begin = v
        counts = counted(filled("int64", int(include))) if name == "mean" or not include else None
        if counts is not None and not include:
            neutral = scalar(_neutral(kind, v.dtype), v.dtype)

            def untouched(x: Expr, n: Expr) -> Expr:
                return Op("where", (Op("gt", (n, Const(0, "int64")), "bool"), neutral, x), v.dtype)

            begin = b.pointwise([v, counts], v.shape, v.dtype, untouched, call.name)
        total = _scattered(call, begin, shape, target, source, kind)
        if name != "mean" or counts is None:
            return total
        work = compute_dtype(v.dtype)

        def divided(x: Expr, n: Expr) -> Expr:
            number = cast(Op("max", (n, Const(1, "int64")), "int64"), work)
            return Op("div" if v.dtype in FLOATS else "floordiv", (cast(x, work), number), work)

        return b.pointwise([total, counts], v.shape, v.dtype, divided, call.name)

    return lower


def _neutral(kind: str, dtype: str) -> float | int:
    """Return the neutral element of a kind of `Scatter`."""
    if kind in ("sum", "prod"):
        return 0 if kind == "sum" else 1
    lowest, highest = (-inf, inf) if dtype in FLOATS else limits(dtype)
    return lowest if kind == "max" else highest


def _index_put(call: Call) -> Virtual:
    v, given, values = call.tensor(0), list(call.args[1]), call.tensor(2)
    accumulate = bool(call.get(3, "accumulate", False))
    places = [d for d, i in enumerate(given) if i is not None]
    indices = [given[d] for d in places]
    if any(i.dtype == "bool" for i in indices):
        if len(indices) > 1:
            raise UnsupportedError("index_put by a mask and an index")
        return _put_where(call, v, indices[0], places[0], values, accumulate)
    adjacent = places == list(range(places[0], places[-1] + 1))
    rank = max(len(i.dims) for i in indices)
    lead = list(range(places[0])) if adjacent else []
    tail = [d for d in range(len(v.dims)) if d not in places and d not in lead]
    block = [ZERO] * rank
    for i in indices:
        for d, s in enumerate(i.shape):
            position = d + rank - len(i.dims)
            block[position] = s if block[position] in (0, 1) else block[position]
            _assume_broadcast(call, s, block[position])
    shape = (*(v.shape[d] for d in lead), *block, *(v.shape[d] for d in tail))
    for s, whole in zip(reversed(values.shape), reversed(shape), strict=False):
        _assume_broadcast(call, s, whole)

    def target(at: _Index) -> tuple[Expr, ...]:
        inner = at[len(lead) : len(lead) + rank]
        out: list[IndexTerm] = [ZERO] * len(v.dims)
        for d, i in zip(places, indices, strict=True):
            out[d] = wrapped(i.at_dims(_ones(i, list(inner[rank - len(i.dims) :]))), v.shape[d])
        for d, term in zip((*lead, *tail), (*at[: len(lead)], *at[len(lead) + rank :]), strict=True):
            out[d] = term
        return tuple(_numbers(out))

    dims = dims_of(shape)
    wide = Virtual(dims, values.dtype, lambda index: broadcast_at(values, dims, index))
    return _scattered(call, v, shape, target, wide, "sum" if accumulate else "set")


def _assume_broadcast(call: Call, given: Size, whole: Size) -> None:
    """Assume that a dimension that is not 1 now is as large as the one that it broadcasts to; the export does not check this."""
    if given != 1:
        call.builder.assume_equal(given, whole)


def _put_where(call: Call, v: Virtual, mask: Virtual, first: int, values: Virtual, accumulate: bool) -> Virtual:
    """Write by a mask over the dimensions from `first` on. The values may differ along the other dimensions only."""
    behind = first + len(mask.dims)
    tail = len(v.dims) - behind
    if len(values.dims) > tail and values.shape[len(values.dims) - tail - 1] != 1:
        raise UnsupportedError(
            "index_put by a mask of as many values as it has places: their number depends on the data"
        )
    for given_size, whole in zip(reversed(values.shape), reversed(v.shape[behind:]), strict=False):
        _assume_broadcast(call, given_size, whole)
    dims = dims_of(v.shape)
    work = compute_dtype(v.dtype)

    def value(at: _Index) -> Expr:
        logical = logical_index(at, dims)
        chosen = cast(mask.at_dims(_ones(mask, logical[first:behind])), "bool")
        own = [*logical[:first], ZERO, *logical[behind:]]
        given = cast(values.at_dims(_ones(values, own[len(own) - len(values.dims) :])), v.dtype)
        before = v.at_dims(_ones(v, logical))
        if accumulate:
            given = cast(Op("add", (cast(before, work), cast(given, work)), work), v.dtype)
        return Op("where", (chosen, given, before), v.dtype)

    return call.builder.compute(dims, v.dtype, value, call.name)


def _strided_scatter(call: Call) -> Virtual:
    """Lower as_strided_scatter into a contiguous tensor."""
    v, source = call.tensor(0), call.tensor(1)
    strides, offset = [size(s) for s in call.args[3]], size(call.get(4, "storage_offset") or 0)
    flat = reshape(v, (sympy.expand(prod(v.shape, start=ONE)),))

    def target(at: _Index) -> tuple[Expr, ...]:
        place: IndexTerm = offset
        for term, stride in zip(at, strides, strict=True):
            place = index_add(place, index_mul(term, stride))
        return tuple(_numbers([place]))

    return reshape(_scattered(call, flat, source.shape, target, source, "set"), v.shape)


SCATTERING: dict[str, Lowering] = {
    **{f"aten.scatter.{o}": _scatter for o in ("src", "value", "reduce", "value_reduce")},
    "aten.scatter_add.default": _scatter,
    "aten.scatter_reduce.two": _reduced(whole=True),
    "aten.index_reduce.default": _reduced(whole=False),
    "aten.index_add.default": _index_add,
    "aten.as_strided_scatter.default": _strided_scatter,
    "aten.index_put.default": _index_put,
    "aten._unsafe_index_put.default": _index_put,
}
