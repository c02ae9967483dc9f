"""Lowerings of views, which change indices only, and of concatenation, padding and overwritten slices."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import sympy

from kernelevolve.synthesis.traced.builder import UnsupportedError, cast
from kernelevolve.synthesis.traced.expr import Expr, IndexTerm, IndexValue, Op, Size, as_expr, index_add, index_mul
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, dim_of, scalar, size
from kernelevolve.synthesis.traced.program import Compute, Role
from kernelevolve.synthesis.traced.virtual import ZERO, Virtual, dims_of, reshape, unravel

_END = 1 << 62
"""The least slice bound that means the end of a dimension."""


def _view(call: Call) -> Virtual:
    return reshape(call.tensor(0), call.shape)


def _permute(v: Virtual, order: list[int]) -> Virtual:
    lengths = [len(d) for d in v.dims]
    starts_new: dict[int, int] = {}
    position = 0
    for d in order:
        starts_new[d] = position
        position += lengths[d]

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        flat: list[IndexTerm] = []
        for d, length in enumerate(lengths):
            flat.extend(index[starts_new[d] : starts_new[d] + length])
        return v.at(tuple(flat))

    return Virtual(tuple(v.dims[d] for d in order), v.dtype, at)


def _permute_lowering(call: Call) -> Virtual:
    v = call.tensor(0)
    rank = len(v.dims)
    return _permute(v, [dim_of(d, rank) for d in call.args[1]])


def _transpose(call: Call) -> Virtual:
    v = call.tensor(0)
    order = list(range(len(v.dims)))
    a, b = (dim_of(d, len(order)) for d in call.args[1:3])
    order[a], order[b] = order[b], order[a]
    return _permute(v, order)


def _t(call: Call) -> Virtual:
    v = call.tensor(0)
    return _permute(v, list(range(len(v.dims)))[::-1])


def _expand(call: Call) -> Virtual:
    v = call.tensor(0)
    shape = call.shape
    offset = len(shape) - len(v.dims)
    dims = tuple(
        v.dims[i - offset] if i >= offset and v.dims[i - offset] else (() if s == 1 else (s,))
        for i, s in enumerate(shape)
    )

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        flat: list[IndexTerm] = []
        start = 0
        for i, atoms in enumerate(dims):
            if i >= offset and v.dims[i - offset]:
                flat.extend(index[start : start + len(atoms)])
            start += len(atoms)
        return v.at(tuple(flat))

    return Virtual(dims, v.dtype, at)


def by_dims(v: Virtual) -> tuple[tuple[tuple[Size, ...], ...], Callable[[tuple[IndexTerm, ...]], list[IndexTerm]]]:
    """Return atoms with one per dimension, and a function from an index over them to the logical index."""
    dims = dims_of(v.shape)

    def logical(index: tuple[IndexTerm, ...]) -> list[IndexTerm]:
        terms = iter(index)
        return [next(terms) if d else ZERO for d in dims]

    return dims, logical


def _normal(value: Any, length: Size, default: Size) -> Size:
    """Clamp a slice bound as Python does. With a symbolic length it is in range by `Program.ranges`."""
    if value is None:
        return default
    bound = sympy.sympify(value)
    if isinstance(bound, sympy.Integer):
        if int(bound) >= _END:
            return length
        if bound < 0:
            bound = bound + length
    if isinstance(bound, sympy.Integer) and isinstance(length, sympy.Integer):
        return sympy.Integer(max(0, min(int(bound), int(length))))
    return bound


def _slice(call: Call) -> Virtual:
    v = call.tensor(0)
    dim = dim_of(call.get(1, "dim", 0), len(v.dims))
    start = _normal(call.get(2, "start"), v.shape[dim], ZERO)
    step = int(call.get(4, "step", 1))
    if call.shape == v.shape and step == 1:
        return v
    return shifted(v, dim, call.shape[dim], start, step)


def shifted(v: Virtual, dim: int, extent: Size, start: Size, step: int) -> Virtual:
    """Return `extent` elements of a dimension from `start` on. The other dimensions keep their atoms."""
    before = sum(len(d) for d in v.dims[:dim])
    width = 0 if extent == 1 else 1
    own = v.dims[dim]

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        position: IndexTerm = index[before] if width else ZERO
        position = index_add(index_mul(position, sympy.Integer(step)), start)
        return v.at((*index[:before], *unravel(position, own), *index[before + width :]))

    dims = (*v.dims[:dim], () if extent == 1 else (extent,), *v.dims[dim + 1 :])
    return Virtual(dims, v.dtype, at)


def _select(call: Call) -> Virtual:
    v = call.tensor(0)
    dim = dim_of(call.args[1], len(v.dims))
    index = size(call.args[2])
    if isinstance(index, sympy.Integer) and index < 0:
        index = index + v.shape[dim]
    one = shifted(v, dim, sympy.Integer(1), index, 1)
    return Virtual((*one.dims[:dim], *one.dims[dim + 1 :]), one.dtype, one.at)


def _unbind(call: Call) -> tuple[Virtual, ...]:
    v = call.tensor(0)
    dim = dim_of(call.get(1, "dim", 0), len(v.dims))
    parts = []
    for i in range(len(call.results)):
        one = shifted(v, dim, sympy.Integer(1), sympy.Integer(i), 1)
        parts.append(Virtual((*one.dims[:dim], *one.dims[dim + 1 :]), one.dtype, one.at))
    return tuple(parts)


def _split(call: Call) -> tuple[Virtual, ...]:
    v = call.tensor(0)
    dim = dim_of(call.get(2, "dim", 0), len(v.dims))
    parts: list[Virtual] = []
    start: Size = ZERO
    for result in call.results:
        parts.append(shifted(v, dim, result.shape[dim], start, 1))
        start = start + result.shape[dim]
    return tuple(parts)


def _slice_scatter(call: Call) -> Virtual:
    """Lower a copy of the first tensor in which the second one replaces a slice."""
    v, source = call.tensor(0), call.tensor(1)
    dim = dim_of(call.get(2, "dim", 0), len(v.dims))
    length = v.shape[dim]
    start, step = _normal(call.get(3, "start"), length, ZERO), sympy.Integer(int(call.get(5, "step", 1)))
    end = start + source.shape[dim] * step
    dims, logical = by_dims(v)
    if start == 0 and sympy.expand(end - length) == 0 and step == 1:
        return call.builder.pointwise([source], call.shape, call.dtype, lambda x: cast(x, call.dtype), call.name)

    def value(index: tuple[IndexTerm, ...]) -> Expr:
        terms = logical(index)
        here = index_add(terms[dim], -start)
        tests = [] if start == 0 else [Op("ge", (as_expr(here), IndexValue(ZERO)), "bool")]
        if step != 1:
            tests.append(Op("eq", (IndexValue(sympy.Mod(here, step)), IndexValue(ZERO)), "bool"))
        if sympy.expand(end - length).is_positive is not True and sympy.expand(end - length) != 0:
            tests.append(Op("lt", (as_expr(terms[dim]), IndexValue(end)), "bool"))
        inside = tests[0]
        for test in tests[1:]:
            inside = Op("and", (inside, test), "bool")
        own = [*terms[:dim], sympy.floor(sympy.sympify(here) / step), *terms[dim + 1 :]]
        taken = cast(
            source.at_dims([ZERO if s == 1 else t for s, t in zip(source.shape, own, strict=True)]), call.dtype
        )
        return Op("guard", (inside, taken, v.at_dims(terms)), call.dtype)

    return call.builder.compute(dims, call.dtype, value, call.name)


def _select_scatter(call: Call) -> Virtual:
    v, source = call.tensor(0), call.tensor(1)
    dim = dim_of(call.args[2], len(v.dims))
    place = size(call.args[3])
    if isinstance(place, sympy.Integer) and place < 0:
        place = place + v.shape[dim]
    dims, logical = by_dims(v)

    def value(index: tuple[IndexTerm, ...]) -> Expr:
        terms = logical(index)
        chosen = Op("eq", (as_expr(terms[dim]), IndexValue(place)), "bool")
        own = [*terms[:dim], *terms[dim + 1 :]]
        taken = cast(
            source.at_dims([ZERO if s == 1 else t for s, t in zip(source.shape, own, strict=True)]), call.dtype
        )
        return Op("where", (chosen, taken, v.at_dims(terms)), call.dtype)

    return call.builder.compute(dims, call.dtype, value, call.name)


def _cat(call: Call) -> Virtual:
    tensors: list[Virtual] = [t for t in call.args[0] if isinstance(t, Virtual)]
    tensors = [t for t in tensors if not (len(t.dims) == 1 and t.shape[0] == 0)] or tensors[:1]
    dim = dim_of(call.get(1, "dim", 0), len(tensors[0].dims))
    return concatenate(call, tensors, dim)


def concatenate(call: Call, tensors: list[Virtual], dim: int) -> Virtual:
    """Concatenate tensors, with one statement per tensor that writes its range of the result."""
    if not tensors:
        raise UnsupportedError("concatenating nothing")
    b, dims = call.builder, dims_of(call.shape)
    made = b.buffer([a for d in dims for a in d], call.dtype, Role.INTERMEDIATE)
    start: Size = ZERO
    for t in (t for t in tensors if t.shape[dim] != 0):
        axes = b.axes([e for d, e in zip(dims, t.shape, strict=True) if d])
        terms = iter(axes)
        logical: list[IndexTerm] = [next(terms).symbol if d else ZERO for d in dims]
        element = t.at_dims([ZERO if s == 1 else term for s, term in zip(t.shape, logical, strict=True)])
        offset = tuple(start if d == dim else ZERO for d in range(len(dims)) if dims[d])
        b.statements.append(Compute(made.name, axes, cast(element, call.dtype), call.name, offset))
        start = start + t.shape[dim]
    return b.view_of(made.name, dims)


def _stack(call: Call) -> Virtual:
    tensors: list[Virtual] = list(call.args[0])
    dim = dim_of(call.get(1, "dim", 0), len(call.shape))
    widened = [Virtual((*t.dims[:dim], (), *t.dims[dim:]), t.dtype, t.at) for t in tensors]
    return concatenate(call, widened, dim)


def _pad(call: Call) -> Virtual:
    return padded(call, call.tensor(0), list(call.args[1]), call.get(2, "value", 0) or 0, call.shape)


def padded(call: Call, v: Virtual, widths: list[Any], fill: float, shape: tuple[Size, ...]) -> Virtual:
    """Pad a tensor to `shape` with `fill`.

    `widths` are the widths before and after each dimension, last dimension first, as in ATen. Negative ones crop.
    """
    dims, rank = dims_of(shape), len(shape)
    before = [ZERO] * rank
    touched = [False] * rank
    for k in range(len(widths) // 2):
        before[rank - 1 - k] = size(widths[2 * k])
        touched[rank - 1 - k] = widths[2 * k] != 0 or widths[2 * k + 1] != 0

    def value(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        logical: list[IndexTerm] = [next(terms) if d else ZERO for d in dims]
        inside: Expr | None = None
        moved: list[IndexTerm] = []
        for d, term in enumerate(logical):
            local = index_add(term, -before[d])
            moved.append(local if v.shape[d] != 1 else (local if touched[d] else ZERO))
            if touched[d]:
                low = Op("ge", (as_expr(local), IndexValue(ZERO)), "bool")
                high = Op("lt", (as_expr(local), IndexValue(v.shape[d])), "bool")
                both = Op("and", (low, high), "bool")
                inside = both if inside is None else Op("and", (inside, both), "bool")
        element = v.at_dims([ZERO if s == 1 else m for s, m in zip(v.shape, moved, strict=True)])
        return element if inside is None else Op("guard", (inside, element, scalar(fill, v.dtype)), v.dtype)

    return call.builder.compute(dims, v.dtype, value, call.name)


def _flip(call: Call) -> Virtual:
    v = call.tensor(0)
    dims, logical = by_dims(v)
    over = {dim_of(d, len(dims)) for d in call.args[1]}

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        terms = logical(index)
        for d in over:
            terms[d] = index_add(v.shape[d] - 1, index_mul(terms[d], sympy.Integer(-1)))
        return v.at_dims(terms)

    return Virtual(dims, v.dtype, at)


def _repeat(call: Call) -> Virtual:
    v = call.tensor(0)
    repeats = [size(r) for r in call.args[1]]
    lead = len(repeats) - len(v.dims)
    dims = []
    for i, r in enumerate(repeats):
        own = v.dims[i - lead] if i >= lead else ()
        dims.append((() if r == 1 else (r,)) + own)

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        flat: list[IndexTerm] = []
        start = 0
        for i, atoms in enumerate(dims):
            own = v.dims[i - lead] if i >= lead else ()
            flat.extend(index[start + len(atoms) - len(own) : start + len(atoms)])
            start += len(atoms)
        return v.at(tuple(flat))

    return Virtual(tuple(dims), v.dtype, at)


def _diagonal(call: Call) -> Virtual:
    v = call.tensor(0)
    rank = len(v.dims)
    offset = int(call.get(1, "offset", 0))
    a, b = dim_of(call.get(2, "dim1", 0), rank), dim_of(call.get(3, "dim2", 1), rank)
    rest = [d for d in range(rank) if d not in (a, b)]
    dims = dims_of(call.shape)

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        logical: list[IndexTerm] = [next(terms) if d else ZERO for d in dims]
        full: list[IndexTerm] = [ZERO] * rank
        for d, term in zip(rest, logical, strict=False):
            full[d] = term
        full[a] = index_add(logical[-1], sympy.Integer(max(0, -offset)))
        full[b] = index_add(logical[-1], sympy.Integer(max(0, offset)))
        return v.at_dims(full)

    return Virtual(dims, v.dtype, at)


def _unfold(call: Call) -> Virtual:
    v = call.tensor(0)
    dim, step = dim_of(call.args[1], len(v.dims)), size(call.args[3])
    dims = dims_of(call.shape)

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        logical: list[IndexTerm] = [next(terms) if d else ZERO for d in dims]
        inside = logical.pop()
        logical[dim] = index_add(index_mul(logical[dim], step), inside)
        return v.at_dims(logical)

    return Virtual(dims, v.dtype, at)


def _overwritten(call: Call) -> Virtual:
    """Lower a copy into a tensor: the source in the shape and dtype of the target."""
    return call.builder.pointwise([call.tensor(1)], call.shape, call.dtype, lambda x: cast(x, call.dtype), call.name)


def _as_strided(call: Call) -> Virtual:
    """Lower as_strided of a contiguous tensor."""
    v, offset = call.tensor(0), size(call.get(3, "storage_offset") or 0)
    wanted: Size = sympy.Integer(1)
    strides = [size(s) for s in call.args[2]]
    plain = offset == 0
    for extent, given in zip(reversed(call.shape), reversed(strides), strict=True):
        plain = plain and (extent == 1 or sympy.expand(given - wanted) == 0)
        wanted = wanted * extent
    count = prod(v.shape, start=sympy.Integer(1))
    if plain and sympy.expand(wanted - count) == 0:
        return reshape(v, call.shape)
    flat, dims = reshape(v, (sympy.expand(count),)), dims_of(call.shape)

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        place: IndexTerm = offset
        for d, stride in zip(dims, strides, strict=True):
            place = index_add(place, index_mul(next(terms) if d else ZERO, stride))
        return flat.at_dims([place])

    return Virtual(dims, v.dtype, at)


VIEWS: dict[str, Lowering] = {
    **{f"aten.{n}.default": _view for n in ("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze")},
    **{f"aten.squeeze.{o}": _view for o in ("dim", "dims")},
    **{f"aten.select.{o}": _select for o in ("int",)},
    **{f"aten.split.{o}": _split for o in ("Tensor", "sizes")},
    "aten.flatten.using_ints": _view,
    "aten.as_strided.default": _as_strided,
    "aten.copy.default": _overwritten,
    "aten.permute.default": _permute_lowering,
    "aten.transpose.int": _transpose,
    "aten.t.default": _t,
    "aten.expand.default": _expand,
    "aten.broadcast_to.default": _expand,
    "aten.slice.Tensor": _slice,
    "aten.slice_scatter.default": _slice_scatter,
    "aten.select_scatter.default": _select_scatter,
    "aten.unbind.int": _unbind,
    "aten.split_with_sizes.default": _split,
    "aten.cat.default": _cat,
    "aten.stack.default": _stack,
    "aten.constant_pad_nd.default": _pad,
    "aten.flip.default": _flip,
    "aten.repeat.default": _repeat,
    "aten.diagonal.default": _diagonal,
    "aten.unfold.default": _unfold,
}
