"""Lowerings of reductions and scans."""

from __future__ import annotations

import math

import sympy

from kernelevolve.synthesis.traced.builder import SizeError, cast, compute_dtype
from kernelevolve.synthesis.traced.expr import FLOATS, Const, Expr, IndexTerm, Op, Size, as_expr
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, dim_of, dims_arg, scalar
from kernelevolve.synthesis.traced.virtual import ONE, Virtual, broadcast_at, common_dims, ravel


def _reduction(kind: str) -> Lowering:
    def lower(call: Call) -> Virtual:
        v = call.tensor(0)
        over = dims_arg(call.get(1, "dim"), len(v.dims))
        return call.builder.reduce(v, over, bool(call.get(2, "keepdim", False)), kind, call.dtype, call.name)

    return lower


def _whole(kind: str) -> Lowering:
    def lower(call: Call) -> Virtual:
        v = call.tensor(0)
        return call.builder.reduce(v, tuple(range(len(v.dims))), False, kind, call.dtype, call.name)

    return lower


def count_of(v: Virtual, over: tuple[int, ...]) -> Size:
    """Return the number of elements of the given dimensions."""
    total: Size = ONE
    for d in over:
        total = total * v.shape[d]
    return sympy.expand(total)


def mean(call: Call, v: Virtual, over: tuple[int, ...], keepdim: bool, dtype: str) -> Virtual:
    """Return the mean over dimensions."""
    b = call.builder
    total = b.reduce(v, over, keepdim, "sum", compute_dtype(dtype), call.name)
    return scaled(call, total, count_of(v, over), dtype)


def scaled(call: Call, total: Virtual, count: Size, dtype: str) -> Virtual:
    """Return total / count."""
    work = compute_dtype(dtype)
    divisor = scalar(count, work)
    return call.builder.pointwise([total], total.shape, dtype, lambda x: Op("div", (x, divisor), work), "mean")


def _mean(call: Call) -> Virtual:
    v = call.tensor(0)
    over = dims_arg(call.get(1, "dim"), len(v.dims))
    return mean(call, v, over, bool(call.get(2, "keepdim", False)), call.dtype)


def _moments(
    call: Call, v: Virtual, over: tuple[int, ...], keepdim: bool, dtype: str, *, root: bool
) -> tuple[Virtual, Virtual]:
    """Return the variance, or its root, and the mean, in two passes. The divisor is clamped to 0.

    The mean is a float64, because its rounding error does not cancel in the squares if all values are large. For a root
    the squares are float64 as well, so that they neither overflow nor underflow.
    """
    b = call.builder
    work = "float64" if root else compute_dtype(dtype)
    centre = mean(call, v, over, True, "float64")

    def square(x: Expr, m: Expr) -> Expr:
        if work == "float64":
            return _times(Op("sub", (cast(x, work), m), work))
        near = cast(m, work)
        rest = cast(Op("sub", (m, cast(near, "float64")), "float64"), work)
        return _times(Op("sub", (Op("sub", (cast(x, work), near), work), rest), work))

    squares = b.pointwise([v, centre], v.shape, work, square, call.name)
    total = b.reduce(squares, over, keepdim, "sum", work, call.name)
    count, correction = count_of(v, over), _correction(call)

    def spread(x: Expr) -> Expr:
        less = Op("sub", (scalar(count, "float64"), Const(correction, "float64")), "float64")
        left = Op("max", (less, Const(0.0, "float64")), "float64") if correction else scalar(count, "float64")
        divisor: Expr = cast(left, work)
        if isinstance(count, sympy.Integer):
            divisor = Const(max(0.0, int(count) - correction), work)
        variance = Op("div", (x, divisor), work)
        return Op("sqrt", (variance,), work) if root else variance

    found = b.pointwise([total], total.shape, work, spread, call.name)
    if keepdim:
        return found, centre
    shape = tuple(s for d, s in enumerate(v.shape) if d not in over)
    kept = Virtual(tuple(d for i, d in enumerate(centre.dims) if i not in over), centre.dtype, centre.at)
    if kept.shape != shape:
        raise SizeError("a mean of this shape")
    return found, kept


def _correction(call: Call) -> float:
    for position in (1, 2):
        if isinstance(unbiased := call.get(position, "unbiased"), bool):
            return float(unbiased)
    value = call.kwargs.get("correction", 1)
    return 1.0 if value is None else float(value)


def _spread(*, root: bool, with_mean: bool) -> Lowering:
    def lower(call: Call) -> Virtual | tuple[Virtual | None, ...]:
        v = call.tensor(0)
        given = call.get(1, "dim")
        over = dims_arg(None if isinstance(given, bool) else given, len(v.dims))
        dtype = call.results[0].dtype
        both = _moments(call, v, over, bool(call.kwargs.get("keepdim", False)), dtype, root=root)
        out = tuple(
            x if x.dtype == dtype else call.builder.pointwise([x], x.shape, dtype, lambda e: cast(e, dtype), call.name)
            for x in (both if with_mean else both[:1])
        )
        return out if with_mean else out[0]

    return lower


def _extremum_index(kind: str) -> Lowering:
    def lower(call: Call) -> Virtual:
        v = call.tensor(0)
        over = dims_arg(call.get(1, "dim"), len(v.dims))
        keepdim = bool(call.get(2, "keepdim", False)) and call.get(1, "dim") is not None
        return call.builder.reduce(v, over, keepdim, kind, "int64", call.name)

    return lower


def _extremum_dim(kind: str) -> Lowering:
    def lower(call: Call) -> tuple[Virtual, Virtual]:
        v = call.tensor(0)
        over = (dim_of(call.args[1], len(v.dims)),) if v.dims else ()
        keepdim = bool(call.get(2, "keepdim", False))
        values = call.builder.reduce(v, over, keepdim, kind, call.dtype, call.name)
        return values, call.builder.reduce(v, over, keepdim, f"arg{kind}", "int64", call.name)

    return lower


def _scan(kind: str) -> Lowering:
    def lower(call: Call) -> Virtual:
        v = call.tensor(0)
        if not v.dims:
            return call.builder.pointwise([v], call.shape, call.dtype, lambda x: x, call.name)
        return call.builder.scan(v, dim_of(call.args[1], len(v.dims)), kind, call.dtype, call.name)

    return lower


def _running_extremum(kind: str) -> Lowering:
    """Return a lowering to the running extremum and the index of its last occurrence. NaN counts as more extreme."""

    def lower(call: Call) -> tuple[Virtual, Virtual]:
        v, b = call.tensor(0), call.builder
        if not v.dims:
            return v, Virtual((), "int64", lambda _: Const(0, "int64"))
        dim = dim_of(call.args[1], len(v.dims))
        values = b.scan(v, dim, kind, call.dtype, call.name)
        dims = common_dims([v, values], v.shape)
        start, width = sum(len(d) for d in dims[:dim]), len(dims[dim])

        def place(index: tuple[IndexTerm, ...]) -> Expr:
            x = broadcast_at(v, dims, index)
            best = broadcast_at(values, dims, index)
            new: Expr = Op("eq", (x, best), "bool")
            if v.dtype in FLOATS:
                new = Op("or", (new, Op("isnan", (x,), "bool")), "bool")
            here = as_expr(ravel(index[start : start + width], dims[dim]))
            return Op("where", (new, here, Const(0, "int64")), "int64")

        places = b.compute(dims, "int64", place, call.name)
        return values, b.scan(places, dim, "max", "int64", call.name)

    return lower


def _norm(call: Call) -> Virtual:
    v = call.tensor(0)
    given = call.get(1, "ord", 2)
    order = 2.0 if given is None else float(given)
    over = dims_arg(call.get(2, "dim"), len(v.dims))
    keepdim = bool(call.get(3, "keepdim", False))
    work = compute_dtype(call.dtype)

    def size(x: Expr) -> Expr:
        return Op("abs", (cast(x, work),), work)

    def power(x: Expr, exponent: float) -> Expr:
        return Op("pow", (x, Const(exponent, work)), work)

    def term(x: Expr) -> Expr:
        if order == 0:
            some = Op("ne", (cast(x, work), Const(0.0, work)), "bool")
            return cast(some, work)
        return _times(cast(x, work)) if order == 2 else size(x) if order == 1 else power(size(x), order)

    if math.isinf(order):
        kind = "max" if order > 0 else "min"
        return call.builder.reduce(v, over, keepdim, kind, call.dtype, call.name, size)
    total = call.builder.reduce(v, over, keepdim, "sum", work, call.name, term)

    def whole(x: Expr) -> Expr:
        if order in (0, 1):
            return x
        return Op("sqrt", (x,), work) if order == 2 else power(x, 1 / order)

    return call.builder.pointwise([total], total.shape, call.dtype, whole, call.name)


def _times(x: Expr) -> Expr:
    return Op("mul", (x, x), x.dtype)


REDUCTIONS: dict[str, Lowering] = {
    **{f"aten.{n}.{o}": _reduction(n) for n in ("any", "all") for o in ("dim", "dims")},
    **{f"aten.{n}.default": _whole(n) for n in ("any", "all")},
    **{f"aten.prod.{o}": k for o, k in (("default", _whole("prod")), ("dim_int", _reduction("prod")))},
    **{f"aten.sum.{o}": k for o, k in (("default", _whole("sum")), ("dim_IntList", _reduction("sum")))},
    **{f"aten.mean.{o}": _mean for o in ("default", "dim")},
    **{f"aten.var.{o}": _spread(root=False, with_mean=False) for o in ("correction", "dim", "default")},
    **{f"aten.std.{o}": _spread(root=True, with_mean=False) for o in ("correction", "dim", "default")},
    "aten.var_mean.correction": _spread(root=False, with_mean=True),
    "aten.std_mean.correction": _spread(root=True, with_mean=True),
    "aten.amax.default": _reduction("max"),
    "aten.amin.default": _reduction("min"),
    "aten.max.default": _whole("max"),
    "aten.min.default": _whole("min"),
    "aten.max.dim": _extremum_dim("max"),
    "aten.min.dim": _extremum_dim("min"),
    "aten.argmax.default": _extremum_index("argmax"),
    "aten.argmin.default": _extremum_index("argmin"),
    "aten.cumsum.default": _scan("sum"),
    "aten.cumprod.default": _scan("prod"),
    "aten.cummax.default": _running_extremum("max"),
    "aten.cummin.default": _running_extremum("min"),
    "aten.linalg_vector_norm.default": _norm,
}
