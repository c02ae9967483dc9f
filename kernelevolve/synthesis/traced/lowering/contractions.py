"""Matrix products and convolutions."""

from __future__ import annotations

import sympy

from kernelevolve.synthesis.traced.builder import UnsupportedError, cast, compute_dtype
from kernelevolve.synthesis.traced.expr import Expr, IndexTerm, Load, Op, Size, index_add, index_mul
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, scalar
from kernelevolve.synthesis.traced.lowering.views import padded
from kernelevolve.synthesis.traced.virtual import ZERO, Virtual, broadcast_at, dims_of, refine


def stored(call: Call, v: Virtual) -> Virtual:
    """The same tensor as plain loads, computed into a buffer where it is an expression."""
    probe = v.at(tuple(sympy.Symbol(f"p{i}", integer=True, nonnegative=True) for i in range(len(v.atoms))))
    if isinstance(probe, Load) and all(isinstance(t, sympy.Basic) for t in probe.index):
        return v
    return call.builder.compute(v.dims, v.dtype, v.at, call.name)


def _common(a: tuple[Size, ...], b: tuple[Size, ...]) -> tuple[Size, ...]:
    """Atoms for a contracted dimension."""
    fine = refine(a, b)
    return tuple(fine) if fine is not None else tuple(b)


def _at(v: Virtual, dims: tuple[tuple[Size, ...], ...], index: tuple[IndexTerm, ...]) -> Expr:
    """An element by an index over `dims`, which are as fine as v's own or finer."""
    return broadcast_at(v, dims, index)


def matmul(call: Call, a: Virtual, b: Virtual, dtype: str) -> Virtual:
    """Batched or not: the last two dimensions are the matrix, those before are equal."""
    a, b = stored(call, a), stored(call, b)
    rank = len(a.dims)
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

    if rank < 2:
        raise UnsupportedError("a product of vectors")
    return call.builder.contract((*batch, rows, columns), inner, dtype, left, right, call.name)


def _mm(call: Call) -> Virtual:
    return matmul(call, call.tensor(0), call.tensor(1), call.dtype)


def _add_matmul(call: Call) -> Virtual:
    """beta * input + alpha * (a @ b)."""
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", 1)
    work = compute_dtype(call.dtype)
    product = matmul(call, call.tensor(1), call.tensor(2), work)

    def fn(c: Expr, p: Expr) -> Expr:
        c, p = cast(c, work), cast(p, work)
        c = c if beta == 1 else Op("mul", (c, scalar(beta, work)), work)
        p = p if alpha == 1 else Op("mul", (p, scalar(alpha, work)), work)
        return Op("add", (p, c), work)

    if beta == 0:
        return product
    return call.builder.pointwise([call.tensor(0), product], call.shape, call.dtype, fn, call.name)


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


def _convolution(call: Call) -> Virtual:
    x, weight, bias = call.tensor(0), call.tensor(1), call.args[2]
    stride, padding, dilation = (tuple(int(v) for v in call.args[i]) for i in (3, 4, 5))
    transposed, groups = bool(call.args[6]), int(call.args[8])
    if transposed:
        raise UnsupportedError("a transposed convolution")
    spatial = len(weight.shape) - 2
    stride, padding, dilation = ((v * spatial if len(v) == 1 else v) for v in (stride, padding, dilation))
    if any(padding):
        widths = [w for p in reversed(padding) for w in (p, p)]
        shape = (*x.shape[:2], *(s + 2 * p for s, p in zip(x.shape[2:], padding, strict=True)))
        x = padded(call, x, widths, 0, shape)
    x, weight = stored(call, x), stored(call, weight)
    per_group_in, out_channels = weight.shape[1], weight.shape[0]
    per_group_out = sympy.Integer(int(out_channels) // groups)
    out_spatial = call.shape[2:]
    batch = call.shape[0]

    channel = ((sympy.Integer(groups),) if groups > 1 else ()) + ((per_group_out,) if per_group_out != 1 else ())
    dims = (dims_of([batch])[0], channel, *dims_of(out_spatial))
    reduced = [e for e in (per_group_in, *weight.shape[2:]) if e != 1]

    def parts(out: tuple[IndexTerm, ...], over: tuple[IndexTerm, ...]) -> tuple[list[IndexTerm], ...]:
        terms, inner = iter(out), iter(over)
        n: IndexTerm = next(terms) if dims[0] else ZERO
        g: IndexTerm = next(terms) if groups > 1 else ZERO
        o: IndexTerm = next(terms) if per_group_out != 1 else ZERO
        positions: list[IndexTerm] = [next(terms) if s != 1 else ZERO for s in out_spatial]
        c: IndexTerm = next(inner) if per_group_in != 1 else ZERO
        taps: list[IndexTerm] = [next(inner) if s != 1 else ZERO for s in weight.shape[2:]]
        full_c = index_add(index_mul(g, per_group_in), c)
        full_o = index_add(index_mul(g, per_group_out), o)
        places = [
            index_add(index_mul(p, sympy.Integer(s)), index_mul(t, sympy.Integer(d)))
            for p, s, t, d in zip(positions, stride, taps, dilation, strict=True)
        ]
        return [n, full_c, *places], [full_o, c, *taps]

    work = compute_dtype(call.dtype)
    product = call.builder.contract(
        dims,
        reduced,
        work,
        lambda out, over: weight.at_dims(parts(out, over)[1]),
        lambda out, over: x.at_dims(parts(out, over)[0]),
        call.name,
    )
    if bias is None:
        return (
            product
            if work == call.dtype
            else call.builder.pointwise([product], call.shape, call.dtype, lambda p: p, call.name)
        )
    column = Virtual((dims_of([out_channels])[0], *(() for _ in out_spatial)), bias.dtype, bias.at)

    def add(p: Expr, c: Expr) -> Expr:
        return Op("add", (p, cast(c, work)), work)

    return call.builder.pointwise([product, column], call.shape, call.dtype, add, call.name)


CONTRACTIONS: dict[str, Lowering] = {
    "aten.mm.default": _mm,
    "aten.bmm.default": _mm,
    "aten.addmm.default": _add_matmul,
    "aten.baddbmm.default": _add_matmul,
    "aten.mv.default": _mv,
    "aten.dot.default": _dot,
    "aten.convolution.default": _convolution,
}
