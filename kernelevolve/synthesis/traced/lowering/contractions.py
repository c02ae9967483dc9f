"""Lowerings of matrix products."""

from __future__ import annotations

from math import prod

import sympy

from kernelevolve.synthesis.traced.builder import UnsupportedError, cast, compute_dtype
from kernelevolve.synthesis.traced.expr import Expr, IndexTerm, Load, Op, Size, divides_axes
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, scalar
from kernelevolve.synthesis.traced.lowering.library import with_library
from kernelevolve.synthesis.traced.virtual import Virtual, broadcast_at, refine


def stored(call: Call, v: Virtual) -> Virtual:
    """Return a tensor whose elements are loads with affine indices, stored in a new buffer if they are not."""
    probe = v.at(tuple(sympy.Symbol(f"p{i}", integer=True, nonnegative=True) for i in range(len(v.atoms))))
    if isinstance(probe, Load) and all(isinstance(t, sympy.Basic) and not divides_axes(t) for t in probe.index):
        return v
    return call.builder.compute(v.dims, v.dtype, v.at, call.name)


def _common(a: tuple[Size, ...], b: tuple[Size, ...]) -> tuple[Size, ...]:
    """Return the atoms of a contracted dimension."""
    fine = refine(a, b)
    return tuple(fine) if fine is not None else tuple(b)


def _at(v: Virtual, dims: tuple[tuple[Size, ...], ...], index: tuple[IndexTerm, ...]) -> Expr:
    """Return an element at an index over `dims`, which refine the dimensions of v."""
    return broadcast_at(v, dims, index)


def matmul(call: Call, a: Virtual, b: Virtual, dtype: str) -> Virtual:
    """Return a matrix product. The last two dimensions are the matrices; any batch dimensions before them are equal."""
    a, b = stored(call, a), stored(call, b)
    if len(a.dims) < 2:
        raise UnsupportedError("a product of vectors")
    batch = tuple(
        tuple(refine(x, y) or (x if len(x) >= len(y) else y)) for x, y in zip(a.dims[:-2], b.dims[:-2], strict=True)
    )
    rows, columns = a.dims[-2], b.dims[-1]
    inner = _common(a.dims[-1], b.dims[-2])
    flat_batch = sum(len(d) for d in batch)
    left_dims, right_dims = (*batch, rows, inner), (*batch, inner, columns)

    def left(out: tuple[IndexTerm, ...], over: tuple[IndexTerm, ...]) -> Expr:
        return _at(a, left_dims, (*out[: flat_batch + len(rows)], *over))

    def right(out: tuple[IndexTerm, ...], over: tuple[IndexTerm, ...]) -> Expr:
        return _at(b, right_dims, (*out[:flat_batch], *over, *out[flat_batch + len(rows) :]))

    return call.builder.contract((*batch, rows, columns), inner, dtype, left, right, call.name)


def _work(a: Virtual, b: Virtual) -> Size:
    return prod((*a.shape, b.shape[-1]), start=sympy.Integer(1))


def _mm(call: Call) -> Virtual:
    a, b = call.tensor(0), call.tensor(1)
    return with_library(call, "matmul", [a, b], (), _work(a, b), lambda x, y: matmul(call, x, y, call.dtype))


def _add_matmul(call: Call) -> Virtual:
    """Lower beta * input + alpha * (a @ b)."""
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", 1)
    work = compute_dtype(call.dtype)
    added, a, b = call.tensor(0), call.tensor(1), call.tensor(2)

    def fn(c: Expr, p: Expr) -> Expr:
        c, p = cast(c, work), cast(p, work)
        if beta == 0:
            return p if alpha == 1 else Op("mul", (p, scalar(alpha, work)), work)
        c = c if beta == 1 else Op("mul", (c, scalar(beta, work)), work)
        p = p if alpha == 1 else Op("mul", (p, scalar(alpha, work)), work)
        return Op("add", (p, c), work)

    def expand(c: Virtual, x: Virtual, y: Virtual) -> Virtual:
        return call.builder.pointwise([c, matmul(call, x, y, work)], call.shape, call.dtype, fn, call.name)

    if beta == 0 or not all(isinstance(v, int | float) for v in (beta, alpha)):
        return call.builder.pointwise([added, matmul(call, a, b, work)], call.shape, call.dtype, fn, call.name)
    if len(call.shape) != 2:
        return expand(added, a, b)
    return with_library(call, "addmm", [added, a, b], (beta, alpha), _work(a, b), expand)


def _mv(call: Call) -> Virtual:
    matrix, vector = call.tensor(0), call.tensor(1)
    column = Virtual((*vector.dims, ()), vector.dtype, vector.at)
    product = matmul(call, matrix, column, call.dtype)
    return Virtual(product.dims[:1], product.dtype, product.at)


def _dot(call: Call) -> Virtual:
    a, b = call.tensor(0), call.tensor(1)
    row, column = Virtual(((), *a.dims), a.dtype, a.at), Virtual((*b.dims, ()), b.dtype, b.at)
    product = matmul(call, row, column, call.dtype)
    return Virtual((), product.dtype, product.at)


CONTRACTIONS: dict[str, Lowering] = {
    "aten.mm.default": _mm,
    "aten.bmm.default": _mm,
    "aten.addmm.default": _add_matmul,
    "aten.baddbmm.default": _add_matmul,
    "aten.mv.default": _mv,
    "aten.dot.default": _dot,
}
