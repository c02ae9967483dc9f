"""Reductions and scans."""

from __future__ import annotations

import sympy

from kernelevolve.synthesis.traced.builder import UnsupportedError, cast, compute_dtype
from kernelevolve.synthesis.traced.expr import Const, Expr, IndexValue, Op, Size
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, dim_of, dims_arg
from kernelevolve.synthesis.traced.virtual import ONE, Virtual


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
    total: Size = ONE
    for d in over:
        total = total * v.shape[d]
    return sympy.expand(total)


def mean(call: Call, v: Virtual, over: tuple[int, ...], keepdim: bool, dtype: str) -> Virtual:
    b = call.builder
    total = b.reduce(v, over, keepdim, "sum", compute_dtype(dtype), call.name)
    return scaled(call, total, count_of(v, over), dtype)


def scaled(call: Call, total: Virtual, count: Size, dtype: str) -> Virtual:
    """total / count."""
    work = compute_dtype(dtype)

    def fn(x: Expr) -> Expr:
        if isinstance(count, sympy.Integer):
            return Op("mul", (x, Const(1.0 / int(count), work)), work) if count > 0 else x
        return Op("div", (x, cast(IndexValue(count), work)), work)

    return call.builder.pointwise([total], total.shape, dtype, fn, "mean")


def _mean(call: Call) -> Virtual:
    v = call.tensor(0)
    over = dims_arg(call.get(1, "dim"), len(v.dims))
    return mean(call, v, over, bool(call.get(2, "keepdim", False)), call.dtype)


def _moments(
    call: Call, v: Virtual, over: tuple[int, ...], keepdim: bool, correction: float
) -> tuple[Virtual, Virtual]:
    """Variance and mean, in two passes."""
    b, work = call.builder, compute_dtype(v.dtype)
    centre = mean(call, v, over, True, work)

    def square(x: Expr, m: Expr) -> Expr:
        difference = Op("sub", (cast(x, work), m), work)
        return Op("mul", (difference, difference), work)

    squares = b.pointwise([v, centre], v.shape, work, square, call.name)
    total = b.reduce(squares, over, keepdim, "sum", work, call.name)
    count = count_of(v, over)
    spread = scaled(
        call, total, sympy.Integer(count - int(correction)) if count.is_Integer else count - int(correction), work
    )
    if keepdim:
        return spread, centre
    shape = tuple(s for d, s in enumerate(v.shape) if d not in over)
    kept = Virtual(tuple(d for i, d in enumerate(centre.dims) if i not in over), centre.dtype, centre.at)
    if kept.shape != shape:
        raise UnsupportedError("a mean of this shape")
    return spread, kept


def _correction(call: Call) -> float:
    unbiased = call.kwargs.get("unbiased")
    if unbiased is not None:
        return float(unbiased)
    value = call.kwargs.get("correction", 1)
    return 1.0 if value is None else float(value)


def _var(call: Call) -> Virtual:
    v = call.tensor(0)
    over = dims_arg(call.get(1, "dim"), len(v.dims))
    spread, _ = _moments(call, v, over, bool(call.kwargs.get("keepdim", False)), _correction(call))
    return call.builder.pointwise([spread], spread.shape, call.dtype, lambda x: x, call.name)


def _var_mean(call: Call) -> tuple[Virtual, Virtual]:
    v = call.tensor(0)
    over = dims_arg(call.get(1, "dim"), len(v.dims))
    spread, centre = _moments(call, v, over, bool(call.kwargs.get("keepdim", False)), _correction(call))
    dtype = call.results[0].dtype

    def to(x: Virtual) -> Virtual:
        return x if x.dtype == dtype else call.builder.pointwise([x], x.shape, dtype, lambda e: e, call.name)

    return to(spread), to(centre)


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
            return v
        return call.builder.scan(v, dim_of(call.args[1], len(v.dims)), kind, call.dtype, call.name)

    return lower


def _norm(call: Call) -> Virtual:
    v = call.tensor(0)
    order = call.get(1, "ord", 2)
    over = dims_arg(call.get(2, "dim"), len(v.dims))
    keepdim = bool(call.get(3, "keepdim", False))
    work = compute_dtype(call.dtype)
    if order not in (1, 2):
        raise UnsupportedError(f"a vector norm of order {order}")
    if order == 2:
        total = call.builder.reduce(v, over, keepdim, "sum", work, call.name, lambda x: _times(cast(x, work)))
        return call.builder.pointwise([total], total.shape, call.dtype, lambda x: Op("sqrt", (x,), work), call.name)
    return call.builder.reduce(
        v, over, keepdim, "sum", call.dtype, call.name, lambda x: Op("abs", (cast(x, work),), work)
    )


def _times(x: Expr) -> Expr:
    return Op("mul", (x, x), x.dtype)


REDUCTIONS: dict[str, Lowering] = {
    **{f"aten.{n}.{o}": _reduction(n) for n in ("any", "all") for o in ("dim", "dims")},
    **{f"aten.{n}.default": _whole(n) for n in ("any", "all")},
    **{f"aten.prod.{o}": k for o, k in (("default", _whole("prod")), ("dim_int", _reduction("prod")))},
    **{f"aten.sum.{o}": k for o, k in (("default", _whole("sum")), ("dim_IntList", _reduction("sum")))},
    **{f"aten.mean.{o}": _mean for o in ("default", "dim")},
    **{f"aten.var.{o}": _var for o in ("correction", "dim", "default")},
    "aten.var_mean.correction": _var_mean,
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
    "aten.linalg_vector_norm.default": _norm,
}
