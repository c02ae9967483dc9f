"""Lowerings of pooling: reductions over windows of fixed size, and adaptive ones that the output size defines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import sympy

from kernelevolve.synthesis.traced.builder import cast, compute_dtype
from kernelevolve.synthesis.traced.expr import FLOATS, Const, Expr, IndexTerm, IndexValue, Op, Size, as_expr
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering
from kernelevolve.synthesis.traced.lowering.views import padded
from kernelevolve.synthesis.traced.numbers import limits
from kernelevolve.synthesis.traced.virtual import ONE, ZERO, Virtual, dims_of


@dataclass(frozen=True)
class _Windows:
    """Windows of a fixed size, described per pooled dimension. `taps` is the kernel size, `out` the output extent."""

    taps: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    out: tuple[Size, ...]

    def reach(self) -> tuple[Size, ...]:
        """Return the elements from the start of the first window to the end of the last, per dimension."""
        parts = zip(self.out, self.stride, self.taps, self.dilation, strict=True)
        return tuple((o - 1) * s + (k - 1) * d + 1 for o, s, k, d in parts)


def _each(value: Any, count: int, default: Sequence[int] = ()) -> tuple[int, ...]:
    """Return one number per pooled dimension. ATen also accepts one for all, and none for the default."""
    given = [int(v) for v in value] if isinstance(value, Sequence) else [int(value)]
    given = given or list(default)
    return tuple(given * count if len(given) == 1 else given)


def _fixed(call: Call, count: int, dilated: bool) -> _Windows:
    taps = _each(call.args[1], count)
    return _Windows(
        taps,
        _each(call.get(2, "stride", ()), count, taps),
        _each(call.get(3, "padding", 0), count),
        _each(call.get(4, "dilation", 1), count) if dilated else (1,) * count,
        call.shape[-count:],
    )


def _lowest(dtype: str) -> float | int:
    return -inf if dtype in FLOATS else limits(dtype)[0]


def _windowed(call: Call, v: Virtual, w: _Windows, fill: float) -> Virtual:
    """Return v[..., position * stride + tap * dilation] with dimensions (..., positions, taps); `fill` outside v."""
    count = len(w.taps)
    lead = len(v.dims) - count
    reach = w.reach()
    after = [r - p - s for r, p, s in zip(reach, w.padding, v.shape[lead:], strict=True)]
    rounded_up = bool(call.get(5 if "max" in call.name else 4, "ceil_mode", False))
    if any(w.padding) or rounded_up:
        widths = [x for p, a in zip(reversed(w.padding), reversed(after), strict=True) for x in (p, a)]
        v = padded(call, v, widths, fill, (*v.shape[:lead], *reach))
    dims = (*dims_of(v.shape[:lead]), *dims_of(w.out), *dims_of([sympy.Integer(k) for k in w.taps]))

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        logical: list[Any] = [next(terms) if d else ZERO for d in dims]
        positions, taps = logical[lead : lead + count], logical[lead + count :]
        places = [p * s + t * d for p, s, t, d in zip(positions, w.stride, taps, w.dilation, strict=True)]
        return v.at_dims([ZERO if s == 1 else t for s, t in zip(v.shape, (*logical[:lead], *places), strict=True)])

    return Virtual(dims, v.dtype, at)


def _over(v: Virtual, count: int) -> tuple[int, ...]:
    return tuple(range(len(v.dims) - count, len(v.dims)))


def _max_pool(count: int) -> Lowering:
    def lower(call: Call) -> tuple[Virtual, Virtual]:
        b, x, w = call.builder, call.tensor(0), _fixed(call, count, dilated=True)
        windows = _windowed(call, x, w, _lowest(x.dtype))
        over = _over(windows, count)
        values = b.reduce(windows, over, False, "max", call.dtype, call.name)
        chosen = b.reduce(windows, over, False, "argmax", "int64", call.name)

        def first(d: int, place: Any) -> Expr:
            return as_expr(place * w.stride[d] - w.padding[d])

        return values, _places(call, x, chosen, w.taps, first, w.dilation)

    return lower


def _places(
    call: Call,
    x: Virtual,
    chosen: Virtual,
    taps: Sequence[Size | int],
    first: Callable[[int, Any], Expr],
    dilation: Sequence[int],
) -> Virtual:
    """Return row-major indices into the pooled dimensions of `x`, from the index of the chosen tap of each window."""
    count = len(taps)
    sizes = x.shape[-count:]
    dims = dims_of(chosen.shape)

    def value(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        logical: list[IndexTerm] = [next(terms) if d else ZERO for d in dims]
        tap = chosen.at_dims([ZERO if s == 1 else t for s, t in zip(chosen.shape, logical, strict=True)])
        flat: Expr = Const(0, "int64")
        for d in range(count):
            later = IndexValue(sympy.sympify(prod(taps[d + 1 :], start=ONE)))
            own = Op("mod", (Op("floordiv", (tap, later), "int64"), IndexValue(sympy.sympify(taps[d]))), "int64")
            moved = Op("mul", (own, Const(dilation[d], "int64")), "int64")
            place = Op("add", (first(d, logical[len(logical) - count + d]), moved), "int64")
            # If a whole window has the lowest value, the first tap is chosen, which may lie in the padding.
            inside = Op("max", (place, Const(0, "int64")), "int64")
            flat = Op("add", (Op("mul", (flat, IndexValue(sizes[d])), "int64"), inside), "int64")
        return flat

    return call.builder.compute(dims, "int64", value, call.name)


def _avg_pool(count: int) -> Lowering:
    def lower(call: Call) -> Virtual:
        x, w = call.tensor(0), _fixed(call, count, dilated=False)
        rounded_up, include = bool(call.get(4, "ceil_mode", False)), bool(call.get(5, "count_include_pad", True))
        divisor = call.get(6, "divisor_override")
        sizes = x.shape[-count:]
        work = compute_dtype(call.dtype)

        def number(logical: Sequence[Any]) -> Expr:
            if divisor is not None:
                return Const(float(divisor), work)
            if not rounded_up and (include or not any(w.padding)):
                return Const(float(prod(w.taps)), work)
            total: Expr = Const(1, "int64")
            for d, place in enumerate(logical):
                first: Expr = as_expr(place * w.stride[d] - w.padding[d])
                last: Expr = Op("add", (first, Const(w.taps[d], "int64")), "int64")
                last = Op("min", (last, IndexValue(sizes[d] + (w.padding[d] if include else 0))), "int64")
                first = first if include else Op("max", (first, Const(0, "int64")), "int64")
                total = Op("mul", (total, Op("sub", (last, first), "int64")), "int64")
            return cast(total, work)

        windows = _windowed(call, x, w, 0)
        return _averaged(call, windows, number, count)

    return lower


def _averaged(call: Call, windows: Virtual, number: Callable[[Sequence[Any]], Expr], count: int) -> Virtual:
    """Return the sum of each window divided by `number`, a function of the position of the window."""
    work = compute_dtype(call.dtype)
    total = call.builder.reduce(windows, _over(windows, count), False, "sum", work, call.name)
    dims = dims_of(total.shape)

    def value(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        logical: list[IndexTerm] = [next(terms) if d else ZERO for d in dims]
        element = total.at_dims([ZERO if s == 1 else t for s, t in zip(total.shape, logical, strict=True)])
        return Op("div", (element, number(logical[len(logical) - count :])), work)

    return call.builder.compute(dims, call.dtype, value, call.name)


@dataclass(frozen=True)
class _Adaptive:
    """Windows that cover a dimension, from floor(place * size / out) to ceil((place + 1) * size / out)."""

    size: Size
    out: Size

    @property
    def even(self) -> bool:
        """Whether all windows have the same length and none overlap."""
        ratio = sympy.cancel(self.size / self.out)
        return bool(sympy.fraction(ratio)[1] == 1)

    @property
    def taps(self) -> Size:
        """An upper bound of the length of a window; the exact length if they are even."""
        return sympy.cancel(self.size / self.out) if self.even else sympy.floor(self.size / self.out) + 2

    def first(self, place: Any) -> Any:
        """Return the first element of a window."""
        return place * self.taps if self.even else sympy.floor(place * self.size / self.out)

    def length(self, place: Any) -> Any:
        """Return the length of a window."""
        if self.even:
            return self.taps
        return sympy.floor(((place + 1) * self.size + self.out - 1) / self.out) - self.first(place)


def _covering(v: Virtual, parts: Sequence[_Adaptive], fill: float) -> Virtual:
    """Return v[..., first + tap] with dimensions (..., positions, taps), and `fill` beyond the end of a window."""
    count = len(parts)
    lead = len(v.dims) - count
    dims = (*dims_of(v.shape[:lead]), *dims_of([p.out for p in parts]), *dims_of([p.taps for p in parts]))

    def at(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index)
        logical: list[Any] = [next(terms) if d else ZERO for d in dims]
        positions, taps = logical[lead : lead + count], logical[lead + count :]
        places = [p.first(o) + t for p, o, t in zip(parts, positions, taps, strict=True)]
        element = v.at_dims([ZERO if s == 1 else t for s, t in zip(v.shape, (*logical[:lead], *places), strict=True)])
        inside: Expr | None = None
        for p, o, t in zip(parts, positions, taps, strict=True):
            if not p.even:
                own = Op("lt", (IndexValue(t), IndexValue(p.length(o))), "bool")
                inside = own if inside is None else Op("and", (inside, own), "bool")
        return element if inside is None else Op("guard", (inside, element, Const(fill, v.dtype)), v.dtype)

    return Virtual(dims, v.dtype, at)


def _adaptive(call: Call, count: int) -> list[_Adaptive]:
    x = call.tensor(0)
    return [_Adaptive(s, o) for s, o in zip(x.shape[-count:], call.shape[-count:], strict=True)]


def _adaptive_avg(count: int) -> Lowering:
    def lower(call: Call) -> Virtual:
        parts = _adaptive(call, count)
        work = compute_dtype(call.dtype)
        x = call.tensor(0)

        def number(logical: Sequence[Any]) -> Expr:
            lengths = (p.length(o) for p, o in zip(parts, logical, strict=True))
            return cast(IndexValue(sympy.sympify(prod(lengths, start=ONE))), work)

        return _averaged(call, _covering(x, parts, 0.0), number, count)

    return lower


def _adaptive_max(count: int) -> Lowering:
    def lower(call: Call) -> tuple[Virtual, Virtual]:
        b, x, parts = call.builder, call.tensor(0), _adaptive(call, count)
        windows = _covering(x, parts, _lowest(x.dtype))
        over = _over(windows, count)
        values = b.reduce(windows, over, False, "max", call.dtype, call.name)
        chosen = b.reduce(windows, over, False, "argmax", "int64", call.name)

        def first(d: int, place: Any) -> Expr:
            return as_expr(parts[d].first(place))

        return values, _places(call, x, chosen, [p.taps for p in parts], first, (1,) * count)

    return lower


POOLING: dict[str, Lowering] = {
    **{f"aten.max_pool{n}d_with_indices.default": _max_pool(n) for n in (2, 3)},
    **{f"aten.avg_pool{n}d.default": _avg_pool(n) for n in (1, 2, 3)},
    **{f"aten.adaptive_avg_pool{n}d.default": _adaptive_avg(n) for n in (1, 2, 3)},
    **{f"aten._adaptive_avg_pool{n}d.default": _adaptive_avg(n) for n in (2, 3)},
    **{f"aten.adaptive_max_pool{n}d.default": _adaptive_max(n) for n in (2, 3)},
}
