"""Lowerings of sorts and order statistics."""

from __future__ import annotations

import sympy

from kernelevolve.synthesis.traced.builder import cast, compute_dtype
from kernelevolve.synthesis.traced.expr import FLOATS, Const, Expr, IndexTerm, IndexValue, Op, Size
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, dim_of, size
from kernelevolve.synthesis.traced.lowering.views import shifted
from kernelevolve.synthesis.traced.virtual import ZERO, Virtual, dims_of, reshape


def elements_at(call: Call, v: Virtual, dim: int, places: Virtual) -> Virtual:
    """Gather elements of `v` along one dimension, by the indices `places`, which also give the shape of the result."""
    dims = dims_of(places.shape)

    def value(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        logical: list[IndexTerm] = [next(terms) if d else ZERO for d in dims]
        picked = places.at_dims(logical)
        logical[dim] = picked
        return v.at_dims([ZERO if s == 1 else t for s, t in zip(v.shape, logical, strict=True)])

    return call.builder.compute(dims, v.dtype, value, call.name)


def _ordered(call: Call, count: Size | None, dim: int, descending: bool) -> tuple[Virtual, Virtual]:
    """Return the first `count` elements in sorted order and their indices; None for all."""
    v = call.tensor(0)
    if not v.dims:
        return v, Virtual((), "int64", lambda _: Const(0, "int64"))
    dim = dim_of(dim, len(v.dims))
    places = call.builder.sort(v, dim, v.shape[dim] if count is None else count, descending, call.name)
    return elements_at(call, v, dim, places), places


def _sort(call: Call) -> tuple[Virtual, Virtual]:
    if "stable" in call.kwargs or call.name.endswith("stable"):
        position = 1 if isinstance(call.get(1, "stable"), bool) and len(call.args) > 1 else 0
        dim, descending = call.get(1 + position, "dim", -1), call.get(2 + position, "descending", False)
    else:
        dim, descending = call.get(1, "dim", -1), call.get(2, "descending", False)
    return _ordered(call, None, int(dim), bool(descending))


def _topk(call: Call) -> tuple[Virtual, Virtual]:
    return _ordered(call, size(call.args[1]), int(call.get(2, "dim", -1)), bool(call.get(3, "largest", True)))


def _picked(call: Call, v: Virtual, dim: int, keepdim: bool, order: Virtual, rank: Virtual) -> tuple[Virtual, Virtual]:
    """Return the element of one rank and its index. `rank` is a tensor of extent 1 along the dimension."""
    place = elements_at(call, order, dim, rank)
    value = elements_at(call, v, dim, place)
    return (value, place) if keepdim else (_without(value, dim), _without(place, dim))


def _without(v: Virtual, dim: int) -> Virtual:
    return Virtual((*v.dims[:dim], *v.dims[dim + 1 :]), v.dtype, v.at)


def _kthvalue(call: Call) -> tuple[Virtual, Virtual]:
    v = call.tensor(0)
    if not v.dims:
        return _ordered(call, None, 0, False)
    k, dim = size(call.args[1]), dim_of(call.get(2, "dim", -1), len(v.dims))
    order = call.builder.sort(v, dim, k, False, call.name)
    place = shifted(order, dim, sympy.Integer(1), k - 1, 1)
    value = elements_at(call, v, dim, place)
    if call.get(3, "keepdim", False):
        return value, place
    return _without(value, dim), _without(place, dim)


def _middle(call: Call, v: Virtual, dim: int, keepdim: bool, *, skips_nan: bool) -> tuple[Virtual, Virtual]:
    """Return the median and its index, the lower one of two. A NaN is the median unless NaNs are skipped."""
    order = call.builder.sort(v, dim, v.shape[dim], False, call.name)
    length = v.shape[dim]
    lower: Size = sympy.floor((length - 1) / 2)
    shape = tuple(sympy.Integer(1) if d == dim else s for d, s in enumerate(v.shape))
    if v.dtype not in FLOATS:
        rank = Virtual(dims_of(shape), "int64", lambda _: IndexValue(lower))
        return _picked(call, v, dim, keepdim, order, rank)

    def is_number(x: Expr) -> Expr:
        missing = Op("isnan", (cast(x, compute_dtype(v.dtype)),), "bool")
        return cast(Op("not", (missing,), "bool"), "int64")

    def chosen(numbers: Expr) -> Expr:
        if skips_nan:
            less = Op("max", (Op("sub", (numbers, Const(1, "int64")), "int64"), Const(0, "int64")), "int64")
            return Op("floordiv", (less, Const(2, "int64")), "int64")
        complete = Op("eq", (numbers, IndexValue(length)), "bool")
        return Op("where", (complete, IndexValue(lower), numbers), "int64")

    numbers = call.builder.reduce(v, (dim,), True, "sum", "int64", call.name, is_number)
    return _picked(call, v, dim, keepdim, order, call.builder.pointwise([numbers], shape, "int64", chosen, call.name))


def _median(*, skips_nan: bool) -> Lowering:
    def lower(call: Call) -> tuple[Virtual, Virtual]:
        v = call.tensor(0)
        if not v.dims:
            return _ordered(call, None, 0, False)
        keepdim = bool(call.get(2, "keepdim", False))
        return _middle(call, v, dim_of(call.args[1], len(v.dims)), keepdim, skips_nan=skips_nan)

    return lower


def _whole_median(*, skips_nan: bool) -> Lowering:
    def lower(call: Call) -> Virtual:
        v = call.tensor(0)
        flat = v
        if len(v.dims) != 1:
            count: Size = sympy.Integer(1)
            for extent in v.shape:
                count = count * extent
            flat = reshape(v, (sympy.expand(count),))
        return _middle(call, flat, 0, False, skips_nan=skips_nan)[0]

    return lower


SORTING: dict[str, Lowering] = {
    "aten.sort.default": _sort,
    "aten.sort.stable": _sort,
    "aten.topk.default": _topk,
    "aten.kthvalue.default": _kthvalue,
    "aten.median.dim": _median(skips_nan=False),
    "aten.nanmedian.dim": _median(skips_nan=True),
    "aten.median.default": _whole_median(skips_nan=False),
    "aten.nanmedian.default": _whole_median(skips_nan=True),
}
