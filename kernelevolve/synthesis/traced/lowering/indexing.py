"""Reading and writing where loaded values say: gather, embedding, search, scatter, ragged segments."""

from __future__ import annotations

from typing import Any

import sympy

from kernelevolve.synthesis.traced.builder import UnsupportedError, cast, compute_dtype
from kernelevolve.synthesis.traced.expr import Const, Expr, IndexTerm, IndexValue, Load, Op, Search, Size
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, dim_of, operand
from kernelevolve.synthesis.traced.lowering.contractions import stored
from kernelevolve.synthesis.traced.lowering.pointwise import promote
from kernelevolve.synthesis.traced.virtual import ZERO, Virtual, broadcast_at, common_dims, dims_of, ravel, unravel


def wrapped(index: Expr, extent: Size) -> Expr:
    """A loaded index as int64, counted from the end where negative."""
    index = cast(index, "int64")
    negative = Op("lt", (index, Const(0, "int64")), "bool")
    return Op("where", (negative, Op("add", (index, IndexValue(extent)), "int64"), index), "int64")


def _gather(call: Call) -> Virtual:
    v, index = call.tensor(0), call.tensor(2)
    dim = dim_of(call.args[1], max(len(v.dims), 1))
    dims = common_dims([index], call.shape)

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        logical = _logical(at, dims)
        logical[dim] = cast(index.at(at), "int64")
        return v.at_dims([ZERO if s == 1 else t for s, t in zip(v.shape, logical, strict=True)])

    return call.builder.compute(dims, call.dtype, value, call.name)


def _logical(index: tuple[IndexTerm, ...], dims: tuple[tuple[Size, ...], ...]) -> list[IndexTerm]:
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
        row = cast(index.at(at[:width]), "int64")
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
        picked = cast(index.at(at[before : before + width]), "int64")
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
        logical = _logical(at, dims)
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


def _scatter_add(call: Call) -> Virtual:
    return _scattered(call, accumulate=True)


def _scatter(call: Call) -> Virtual:
    return _scattered(call, accumulate=False)


def _scattered(call: Call, accumulate: bool) -> Virtual:
    v, index = call.tensor(0), call.tensor(2)
    dim = dim_of(call.args[1], max(len(v.dims), 1))
    source = operand(call.args[3], v.dtype)
    shape = index.shape
    dims = dims_of(shape)

    def target(at: tuple[IndexTerm, ...]) -> tuple[Expr, ...]:
        logical = _logical(at, dims)
        out = [IndexValue(t) if isinstance(t, sympy.Basic) else t for t in logical]
        out[dim] = cast(index.at_dims(_ones(index, logical)), "int64")
        return tuple(out)

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        if not source.dims:
            return source.at(())
        return source.at_dims(_ones(source, _logical(at, dims)))

    extents = [a for d in dims for a in d]
    return call.builder.scatter(v, extents, target, value, accumulate, call.name)


def _ones(v: Virtual, logical: list[IndexTerm]) -> list[IndexTerm]:
    return [ZERO if s == 1 else t for s, t in zip(v.shape, logical, strict=True)]


def _index_add(call: Call) -> Virtual:
    v, index, source = call.tensor(0), call.tensor(2), call.tensor(3)
    dim = dim_of(call.args[1], max(len(v.dims), 1))
    alpha = call.kwargs.get("alpha", 1)
    dims = dims_of(source.shape)
    if alpha != 1:
        raise UnsupportedError("index_add with alpha")

    def target(at: tuple[IndexTerm, ...]) -> tuple[Expr, ...]:
        logical = _logical(at, dims)
        out = [IndexValue(t) if isinstance(t, sympy.Basic) else t for t in logical]
        out[dim] = cast(index.at_dims([logical[dim]]), "int64")
        return tuple(out)

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        return source.at_dims(_ones(source, _logical(at, dims)))

    return call.builder.scatter(v, [a for d in dims for a in d], target, value, True, call.name)


def _index_put(call: Call) -> Virtual:
    v, given, values = call.tensor(0), list(call.args[1]), call.tensor(2)
    accumulate = bool(call.get(3, "accumulate", False))
    places = [d for d, i in enumerate(given) if i is not None]
    indices = [given[d] for d in places]
    if any(i.dtype == "bool" for i in indices) or places != list(range(len(places))):
        raise UnsupportedError("index_put by a mask, or not in the leading dimensions")
    rank = max(len(i.dims) for i in indices)
    rest = v.shape[len(places) :]
    shape = [ZERO] * rank
    for i in indices:
        for d, s in enumerate(i.shape):
            position = d + rank - len(i.dims)
            shape[position] = s if shape[position] in (0, 1) else shape[position]
    block = dims_of(shape)
    dims = (*block, *dims_of(rest))
    width = sum(len(d) for d in block)

    def target(at: tuple[IndexTerm, ...]) -> tuple[Expr, ...]:
        found = [wrapped(broadcast_at(i, block, at[:width]), v.shape[d]) for d, i in zip(places, indices, strict=True)]
        tail = _logical(at[width:], dims[len(block) :])
        return (*found, *(IndexValue(t) if isinstance(t, sympy.Basic) else t for t in tail))

    def value(at: tuple[IndexTerm, ...]) -> Expr:
        return broadcast_at(values, dims, at)

    return call.builder.scatter(v, [a for d in dims for a in d], target, value, accumulate, call.name)


def _embedding_bag(call: Call) -> tuple[Virtual | None, ...]:
    table, index, offsets = call.tensor(0), call.tensor(1), call.tensor(2)
    mode = int(call.get(4, "mode", 0))
    weights = call.get(6, "per_sample_weights")
    include_last = bool(call.get(7, "include_last_offset", False))
    padding = int(call.get(8, "padding_idx", -1))
    if padding >= 0:
        raise UnsupportedError("embedding_bag with a padding index")
    if include_last and mode == 1:
        # The last bag ends at the last offset, but PyTorch divides its sum by the ids up to the end of the index.
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

    def value(p: IndexTerm, rest: tuple[IndexTerm, ...]) -> Expr:
        row = cast(index.at_dims([p]), "int64")
        element = cast(table.at((row, *rest)), work)
        if weights is None:
            return element
        return Op("mul", (element, cast(weights.at_dims([p]), work)), work)

    work = compute_dtype(call.dtype)
    kind = ("sum", "mean", "max")[mode]
    rest = table.dims[1:]
    if segments == 1 or not all(len(d) == 1 for d in table.dims[:1]):
        raise UnsupportedError("embedding_bag of one bag")
    out = call.builder.segment_reduce(segments, rest, total, work, bounds, value, kind, call.name)
    return (out, None, None, None)


INDEXING: dict[str, Lowering] = {
    "aten.gather.default": _gather,
    "aten.embedding.default": _embedding,
    "aten.index_select.default": _index_select,
    "aten.index.Tensor": _index_tensor,
    "aten._unsafe_index.Tensor": _index_tensor,
    "aten.searchsorted.Tensor": _searchsorted,
    "aten.bucketize.Tensor": _bucketize,
    "aten.scatter_add.default": _scatter_add,
    "aten.scatter.src": _scatter,
    "aten.scatter.value": _scatter,
    "aten.index_add.default": _index_add,
    "aten.index_put.default": _index_put,
    "aten._embedding_bag.default": _embedding_bag,
    "aten._embedding_bag_forward_only.default": _embedding_bag,
}
