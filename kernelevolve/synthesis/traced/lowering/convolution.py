"""Lowerings of convolutions, transposed or not, of one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd, prod
from typing import Any

import sympy

from kernelevolve.synthesis.traced.builder import cast, compute_dtype
from kernelevolve.synthesis.traced.expr import Const, Expr, IndexTerm, IndexValue, Op, Size
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering
from kernelevolve.synthesis.traced.lowering.contractions import stored
from kernelevolve.synthesis.traced.lowering.library import with_library
from kernelevolve.synthesis.traced.lowering.views import padded
from kernelevolve.synthesis.traced.virtual import ZERO, Virtual, dims_of


def _ones(shape: Sequence[Size], index: Sequence[IndexTerm]) -> list[IndexTerm]:
    return [ZERO if s == 1 else t for s, t in zip(shape, index, strict=True)]


@dataclass(frozen=True)
class _Shape:
    """The parameters of a convolution, with one number per spatial dimension. `taps` is the kernel size."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    added: tuple[int, ...]
    """The output padding of a transposed convolution."""
    groups: int
    taps: tuple[int, ...]

    @classmethod
    def of(cls, call: Call) -> _Shape:
        """Return the parameters of a call."""
        taps = tuple(int(k) for k in call.args[1].shape[2:])
        lists = (tuple(int(v) for v in call.args[i]) for i in (3, 4, 5, 7))
        stride, padding, dilation, added = (v * len(taps) if len(v) == 1 else v for v in lists)
        return cls(stride, padding, dilation, added, int(call.args[8]), taps)


def _convolution(call: Call) -> Virtual:
    batched = len(call.tensor(0).dims) == len(call.args[1].dims)
    x, weight, bias = call.tensor(0), call.tensor(1), call.args[2]
    if not batched:
        x = Virtual(((), *x.dims), x.dtype, x.at)
    shape = call.shape if batched else (sympy.Integer(1), *call.shape)
    c, transposed = _Shape.of(call), bool(call.args[6])
    work = compute_dtype(call.dtype)

    def expand(x: Virtual, weight: Virtual, *bias: Virtual) -> Virtual:
        out = (_transposed if transposed else _plain)(call, x, weight, c, shape, work)
        if not bias and work == call.dtype:
            return out
        columns = [Virtual((b.dims[0], *(() for _ in shape[2:])), b.dtype, b.at) for b in bias]

        def add(p: Expr, *b: Expr) -> Expr:
            return Op("add", (p, cast(b[0], work)), work) if b else p

        return call.builder.pointwise([out, *columns], shape, call.dtype, add, call.name)

    arguments = (c.stride, c.padding, c.dilation, transposed, c.added, c.groups)
    larger = x.shape if transposed else shape
    multiplications = prod((*larger, *weight.shape[1:]), start=sympy.Integer(1))
    operands = [x, weight] if bias is None else [x, weight, bias]
    out = with_library(call, "convolution", operands, arguments, multiplications, expand)
    return out if batched else Virtual(out.dims[1:], out.dtype, out.at)


def _plain(call: Call, x: Virtual, weight: Virtual, c: _Shape, shape: tuple[Size, ...], work: str) -> Virtual:
    if any(c.padding):
        widths = [w for p in reversed(c.padding) for w in (p, p)]
        wider = (*x.shape[:2], *(s + 2 * p for s, p in zip(x.shape[2:], c.padding, strict=True)))
        x = padded(call, x, widths, 0, wider)
    x, weight = stored(call, x), stored(call, weight)
    per_group_in = weight.shape[1]
    per_group_out = sympy.Integer(int(weight.shape[0]) // c.groups)
    channel = [sympy.Integer(c.groups), per_group_out]
    dims = (*dims_of([shape[0]]), tuple(e for e in channel if e != 1), *dims_of(shape[2:]))
    sizes = [shape[0], *channel, *shape[2:]]
    inner = [per_group_in, *weight.shape[2:]]

    def parts(out: tuple[IndexTerm, ...], over: tuple[IndexTerm, ...]) -> tuple[list[Any], list[Any]]:
        n, g, o, *positions = _filled(out, sizes)
        i, *taps = _filled(over, inner)
        places = [p * s + t * d for p, s, t, d in zip(positions, c.stride, taps, c.dilation, strict=True)]
        return [n, g * per_group_in + i, *places], [g * per_group_out + o, i, *taps]

    return call.builder.contract(
        dims,
        [e for e in inner if e != 1],
        work,
        lambda out, over: weight.at_dims(_ones(weight.shape, parts(out, over)[1])),
        lambda out, over: x.at_dims(_ones(x.shape, parts(out, over)[0])),
        call.name,
    )


def _filled(index: Sequence[IndexTerm], sizes: Sequence[Size]) -> list[Any]:
    """Return an index with one term per size, 0 for sizes of 1."""
    terms = iter(index)
    return [next(terms) if s != 1 else ZERO for s in sizes]


@dataclass(frozen=True)
class _Residues:
    """Outputs of a transposed convolution with the same number of taps, at stride * q + first + r for 0 <= r < count.

    Positions are those before the padding is cut off. The taps are first_tap + r + j * tap_step for j < taps. They read
    the input at q + shift - j * input_step.
    """

    first: int
    count: int
    """The number of values of r."""
    first_tap: int
    taps: int
    tap_step: int
    shift: int
    input_step: int


def _residues(stride: int, dilation: int, taps: int) -> list[_Residues]:
    """Divide the outputs of a dimension by their residue modulo the stride; without dilation residues are grouped."""
    if dilation == 1:
        longer, rest = taps % stride, taps // stride
        parts = [(0, longer, rest + 1), (longer, stride - longer, rest)]
        return [_Residues(first, count, first, number, stride, 0, 1) for first, count, number in parts if count]
    common = gcd(stride, dilation)
    out = []
    for r in range(stride):
        tap = next((t for t in range(stride // common) if (t * dilation - r) % stride == 0), taps)
        step = stride // common
        number = max(0, -(-(taps - tap) // step))
        out.append(_Residues(r, 1, tap, number, step, (r - tap * dilation) // stride, dilation // common))
    return out


def _transposed(call: Call, x: Virtual, weight: Virtual, c: _Shape, shape: tuple[Size, ...], work: str) -> Virtual:
    """Lower a transposed convolution: one dense product per combination of residues modulo the stride."""
    spatial = len(c.taps)
    classes = [_residues(s, d, k) for s, d, k in zip(c.stride, c.dilation, c.taps, strict=True)]
    start = [p // s for p, s in zip(c.padding, c.stride, strict=True)]
    """The first q of each dimension that is in the result."""
    excess = [
        (d * (k - 1) + a - p) // s
        for s, d, k, a, p in zip(c.stride, c.dilation, c.taps, c.added, c.padding, strict=True)
    ]
    before, counts, widths = [], [], []
    for dim in range(spatial):
        extent = x.shape[2 + dim]
        lowest = min(start[dim] + r.shift - (r.taps - 1) * r.input_step for r in classes[dim] if r.taps)
        before.append(max(0, -lowest))
        counts.append(sympy.expand(extent + excess[dim] - start[dim]))
        widths.append((before[dim], max(0, excess[dim])))
    if any(w for pair in widths for w in pair):
        wider = (*x.shape[:2], *(s + a + b for s, (a, b) in zip(x.shape[2:], widths, strict=True)))
        x = padded(call, x, [w for pair in reversed(widths) for w in pair], 0, wider)
    x, weight = stored(call, x), stored(call, weight)
    per_group_in = sympy.Integer(int(weight.shape[0]) // c.groups)
    per_group_out = weight.shape[1]

    def products(chosen: tuple[_Residues, ...]) -> Virtual | None:
        if not all(r.taps for r in chosen):
            return None
        sizes = [shape[0], sympy.Integer(c.groups), per_group_out, *(sympy.Integer(r.count) for r in chosen), *counts]
        inner = [per_group_in, *(sympy.Integer(r.taps) for r in chosen)]

        def parts(out: tuple[IndexTerm, ...], over: tuple[IndexTerm, ...]) -> tuple[list[Any], list[Any]]:
            n, g, o, *rest = _filled(out, sizes)
            i, *steps = _filled(over, inner)
            residues, places = rest[:spatial], rest[spatial:]
            channel = g * per_group_in + i
            read = [
                q + start[d] + r.shift + before[d] - j * r.input_step
                for d, (q, r, j) in enumerate(zip(places, chosen, steps, strict=True))
            ]
            taps = [r.first_tap + v + j * r.tap_step for r, v, j in zip(chosen, residues, steps, strict=True)]
            return [n, channel, *read], [channel, o, *taps]

        return call.builder.contract(
            dims_of(sizes),
            [e for e in inner if e != 1],
            work,
            lambda out, over: weight.at_dims(_ones(weight.shape, parts(out, over)[1])),
            lambda out, over: x.at_dims(_ones(x.shape, parts(out, over)[0])),
            call.name,
        )

    made = {chosen: products(chosen) for chosen in product(*classes)}
    return _interleaved(call, made, classes, c, start, shape, per_group_out, work)


def _interleaved(
    call: Call,
    made: dict[tuple[_Residues, ...], Virtual | None],
    classes: Sequence[Sequence[_Residues]],
    c: _Shape,
    start: Sequence[int],
    shape: tuple[Size, ...],
    per_group_out: Size,
    work: str,
) -> Virtual:
    """Assemble the result, each element from the product of its residues."""
    channel = [sympy.Integer(c.groups), per_group_out]
    sizes = [shape[0], *channel, *shape[2:]]
    dims = (*dims_of([shape[0]]), tuple(e for e in channel if e != 1), *dims_of(shape[2:]))

    def value(index: tuple[IndexTerm, ...]) -> Expr:
        n, g, o, *places = _filled(index, sizes)
        full = [p + a for p, a in zip(places, c.padding, strict=True)]
        residue = [sympy.Mod(p, s) for p, s in zip(full, c.stride, strict=True)]
        quotient = [sympy.floor(p / sympy.Integer(s)) - b for p, s, b in zip(full, c.stride, start, strict=True)]

        def pick(chosen: tuple[_Residues, ...]) -> Expr:
            if len(chosen) == len(classes):
                source = made[chosen]
                if source is None:
                    return Const(0.0, work)
                inside = [r - k.first for r, k in zip(residue, chosen, strict=True)]
                return source.at_dims(_ones(source.shape, [n, g, o, *inside, *quotient]))
            dim = len(chosen)
            *early, last = classes[dim]
            result = pick((*chosen, last))
            for k in reversed(early):
                below = Op("lt", (IndexValue(residue[dim]), Const(k.first + k.count, "int64")), "bool")
                result = Op("guard", (below, pick((*chosen, k)), result), work)
            return result

        return pick(())

    return call.builder.compute(dims, work, value, call.name)


CONVOLUTION: dict[str, Lowering] = {"aten.convolution.default": _convolution}
