"""Lowerings of reads at loaded indices: gather, embedding, search, embedding bags."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import sympy

from kernelevolve.synthesis.traced.builder import UnsupportedError, cast, compute_dtype
from kernelevolve.synthesis.traced.expr import Const, Expr, IndexTerm, IndexValue, Load, Op, Search, Size, as_index
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, dim_of, operand
from kernelevolve.synthesis.traced.lowering.contractions import stored
from kernelevolve.synthesis.traced.lowering.promotion import promote
from kernelevolve.synthesis.traced.virtual import ZERO, Virtual, broadcast_at, common_dims, ravel, unravel

_OfBag = Callable[[IndexTerm, tuple[IndexTerm, ...]], Expr]


def place_of(index: Expr) -> IndexTerm:
    """Return an index as an index term, in sympy if nothing is loaded."""
    return as_index(cast(index, "int64"))


def wrapped(index: Expr, extent: Size) -> IndexTerm:
    """Return an index as an index term; a negative one counts from the end."""
    index = cast(index, "int64")
    plain = as_index(index)
    if isinstance(plain, sympy.Basic) and plain.is_nonnegative:
        return plain
    negative = Op("lt", (index, Const(0, "int64")), "bool")
    return Op("where", (negative, Op("add", (index, IndexValue(extent)), "int64"), index), "int64")


def _gather(call: Call) -> Virtual:
    v, index = call.tensor(0), call.tensor(2)
    dim = dim_of(call.args[1], max(len(v.dims), 1))
    dims = common_dims([index], call.shape)

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        logical = logical_index(at, dims)
        logical[dim] = place_of(index.at(at))
        return v.at_dims([ZERO if s == 1 else t for s, t in zip(v.shape, logical, strict=True)])

    return call.builder.compute(dims, call.dtype, value, call.name)


def logical_index(index: tuple[IndexTerm, ...], dims: tuple[tuple[Size, ...], ...]) -> list[IndexTerm]:
    """Convert an index over atoms to one with a term per logical dimension."""
    out: list[IndexTerm] = []
    start = 0
    for atoms in dims:
        out.append(ravel(index[start : start + len(atoms)], atoms))
        start += len(atoms)
    return out


def _embedding(call: Call) -> Virtual:
    table, index = call.tensor(0), call.tensor(1)
    dims = (*index.dims, *table.dims[1:])
    width = len(index.atoms)

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        row = place_of(index.at(at[:width]))
        head = unravel(row, table.dims[0])
        return table.at((*head, *at[width:]))

    return call.builder.compute(dims, call.dtype, value, call.name)


def _index_select(call: Call) -> Virtual:
    v, index = call.tensor(0), call.tensor(2)
    dim = dim_of(call.args[1], len(v.dims))
    dims = (*v.dims[:dim], index.dims[0] if index.dims else (), *v.dims[dim + 1 :])
    before = sum(len(d) for d in v.dims[:dim])
    width = len(index.atoms)

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        picked = place_of(index.at(at[before : before + width]))
        own = unravel(picked, v.dims[dim])
        return v.at((*at[:before], *own, *at[before + width :]))

    return call.builder.compute(dims, call.dtype, value, call.name)


def _index_tensor(call: Call) -> Virtual:
    v, given = call.tensor(0), list(call.args[1])
    places = [d for d, i in enumerate(given) if i is not None]
    indices = [given[d] for d in places]
    if any(i.dtype == "bool" for i in indices):
        raise UnsupportedError("indexing by a mask: its shape depends on the data")
    adjacent = places == list(range(places[0], places[-1] + 1))
    rank = max(len(i.dims) for i in indices)
    at_front = 0 if not adjacent else places[0]
    shape = call.shape[at_front : at_front + rank]
    block = common_dims(indices, shape)
    kept = [d for d in range(len(v.dims)) if d not in places]
    lead = [d for d in kept if d < at_front] if adjacent else []
    tail = [d for d in kept if d not in lead]
    dims = (*(v.dims[d] for d in lead), *block, *(v.dims[d] for d in tail))
    start = sum(len(v.dims[d]) for d in lead)
    width = sum(len(d) for d in block)

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        inner = at[start : start + width]
        logical: list[IndexTerm] = [ZERO] * len(v.dims)
        for d, i in zip(places, indices, strict=True):
            logical[d] = wrapped(broadcast_at(i, block, inner), v.shape[d])
            rest = iter((*at[:start], *at[start + width :]))
        for d in (*lead, *tail):
            own = [next(rest) for _ in v.dims[d]]
            logical[d] = ravel(own, v.dims[d])
        return v.at_dims([ZERO if s == 1 else t for s, t in zip(v.shape, logical, strict=True)])

    return call.builder.compute(dims, call.dtype, value, call.name)


def _searchsorted(call: Call) -> Virtual:
    return _search(call, call.tensor(0), call.args[1])


def _bucketize(call: Call) -> Virtual:
    return _search(call, call.tensor(1), call.args[0])


def _search(call: Call, boundaries: Virtual, values: Any) -> Virtual:
    right = bool(call.kwargs.get("right", False)) or call.kwargs.get("side") == "right"
    if call.kwargs.get("sorter") is not None:
        raise UnsupportedError("searchsorted with a sorter")
    found = operand(values, boundaries.dtype)
    work = compute_dtype(promote(boundaries.dtype, found.dtype))
    if work != boundaries.dtype:
        boundaries = call.builder.compute(boundaries.dims, work, boundaries.at, call.name)
    boundaries = stored(call, boundaries)
    length = boundaries.shape[-1]
    if len(boundaries.dims[-1]) > 1 or length == 1:
        raise UnsupportedError("searchsorted in a split or single boundary")
    by_row = len(boundaries.dims) > 1
    dims = common_dims([found], call.shape)

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        logical = logical_index(at, dims)
        rows: list[IndexTerm] = logical[:-1] if by_row else []
        probe = boundaries.at_dims([*rows, ZERO])
        if not isinstance(probe, Load):
            raise UnsupportedError("searchsorted in computed boundaries")
        wanted = cast(broadcast_at(found, dims, at), work)
        place: Expr = Search(probe.buffer, probe.index[:-1], length, wanted, right)
        return cast(place, call.dtype)

    source = boundaries.at(tuple(sympy.Symbol(f"p{i}", integer=True) for i in range(len(boundaries.atoms))))
    if not (
        isinstance(source, Load) and source.index[-1] == sympy.Symbol(f"p{len(boundaries.atoms) - 1}", integer=True)
    ):
        boundaries = call.builder.compute(boundaries.dims, boundaries.dtype, boundaries.at, call.name)
    return call.builder.compute(dims, call.dtype, value, call.name)


def _embedding_bag(call: Call) -> tuple[Virtual | None, ...]:
    table, index, offsets = call.tensor(0), call.tensor(1), call.tensor(2)
    mode = int(call.get(4, "mode", 0))
    weights = call.get(6, "per_sample_weights")
    include_last = bool(call.get(7, "include_last_offset", False))
    padding = int(call.get(8, "padding_idx", -1))
    if include_last and mode == 1:
        # PyTorch ends the last bag at the last offset, but divides its sum by the ids up to the end of the index.
        raise UnsupportedError("embedding_bag: means of bags up to a last offset")
    total, bags = index.shape[0], offsets.shape[0]
    segments = bags - 1 if include_last else bags

    def bounds(s: IndexTerm) -> tuple[Expr, Expr]:
        first = cast(offsets.at_dims([s]), "int64")
        following = s + 1 if isinstance(s, sympy.Basic) else s
        if include_last:
            return first, cast(offsets.at_dims([following]), "int64")
        last_bag = Op("ge", (IndexValue(following), IndexValue(bags)), "bool")
        after = cast(offsets.at_dims([following]), "int64")
        return first, Op("guard", (last_bag, IndexValue(total), after), "int64")

    work = compute_dtype(call.dtype)
    kind = ("sum", "mean", "max")[mode]
    rest = table.dims[1:]
    if not all(len(d) == 1 for d in table.dims[:1]):
        raise UnsupportedError("embedding_bag of a table whose rows were joined")

    def row_of(p: IndexTerm) -> Expr:
        return cast(index.at_dims([p]), "int64")

    def counts(p: IndexTerm) -> Expr:
        return Op("ne", (row_of(p), Const(padding, "int64")), "bool")

    def value(p: IndexTerm, rest: tuple[IndexTerm, ...]) -> Expr:
        element: Expr = cast(table.at((row_of(p), *rest)), work)
        if weights is not None:
            element = Op("mul", (element, cast(weights.at_dims([p]), work)), work)
        if padding < 0:
            return element
        return Op("guard", (counts(p), element, Const(-inf if kind == "max" else 0.0, work)), work)

    def bags_of(kind: str, rest: tuple[tuple[Size, ...], ...], dtype: str, value: _OfBag) -> Virtual:
        return call.builder.segment_reduce(segments, rest, total, dtype, bounds, value, kind, call.name)

    if padding < 0:
        return (bags_of(kind, rest, work, value), None, None, None)
    found = bags_of("sum" if kind == "mean" else kind, rest, work, value)
    if kind == "sum":
        return (found, None, None, None)
    number = bags_of("sum", (), "int64", lambda p, _: cast(counts(p), "int64"))
    column = Virtual((*number.dims, *(() for _ in rest)), "int64", number.at)

    def of_some(x: Expr, n: Expr) -> Expr:
        if kind == "mean":
            x = Op("div", (x, cast(n, work)), work)
        return Op("where", (Op("gt", (n, Const(0, "int64")), "bool"), x, Const(0.0, work)), work)

    return (call.builder.pointwise([found, column], call.shape, work, of_some, call.name), None, None, None)


INDEXING: dict[str, Lowering] = {
    "aten.gather.default": _gather,
    "aten.embedding.default": _embedding,
    "aten.index_select.default": _index_select,
    "aten.index.Tensor": _index_tensor,
    "aten._unsafe_index.Tensor": _index_tensor,
    "aten.searchsorted.Tensor": _searchsorted,
    "aten.bucketize.Tensor": _bucketize,
    "aten._embedding_bag.default": _embedding_bag,
    "aten._embedding_bag_forward_only.default": _embedding_bag,
}
