"""Lowerings of operations on complex tensors, each represented by the tensors of its real and imaginary parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sympy

from kernelevolve.synthesis.traced.builder import UnsupportedError, cast
from kernelevolve.synthesis.traced.expr import Const, Expr, IndexTerm, IndexValue, Op, Size, as_expr
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, scalar
from kernelevolve.synthesis.traced.lowering.contractions import CONTRACTIONS
from kernelevolve.synthesis.traced.lowering.creation import CREATION
from kernelevolve.synthesis.traced.lowering.indexing import INDEXING
from kernelevolve.synthesis.traced.lowering.pointwise import POINTWISE
from kernelevolve.synthesis.traced.lowering.reductions import REDUCTIONS
from kernelevolve.synthesis.traced.lowering.views import VIEWS, shifted
from kernelevolve.synthesis.traced.virtual import ZERO, Virtual, dims_of

PARTS = {"complex64": "float32", "complex128": "float64"}
"""The dtype of the parts of each complex dtype."""


@dataclass(frozen=True)
class Complex:
    """A complex tensor as two real ones."""

    real: Virtual
    imag: Virtual


ComplexLowering = Callable[[Call], Complex | Virtual]

_Pair = tuple[Expr, Expr]


def of_pairs(v: Virtual) -> Complex:
    """Return the complex tensor of a real one whose last dimension holds both parts."""
    last = len(v.dims) - 1
    parts = (shifted(v, last, sympy.Integer(1), sympy.Integer(i), 1) for i in range(2))
    real, imag = (Virtual(part.dims[:-1], part.dtype, part.at) for part in parts)
    return Complex(real, imag)


def to_pairs(call: Call, z: Complex) -> Virtual:
    """Return a real tensor whose last dimension holds both parts, the inverse of `of_pairs`."""
    dims = dims_of((*z.real.shape, sympy.Integer(2)))

    def value(index: tuple[IndexTerm, ...]) -> Expr:
        terms = iter(index[:-1])
        logical: list[IndexTerm] = [next(terms) if d else ZERO for d in dims[:-1]]
        first = Op("eq", (as_expr(index[-1]), IndexValue(ZERO)), "bool")
        return Op("where", (first, z.real.at_dims(logical), z.imag.at_dims(logical)), z.real.dtype)

    return call.builder.compute(dims, z.real.dtype, value, call.name)


def is_complex(call: Call) -> bool:
    """Return whether an operation has complex arguments or results."""
    if any(result.dtype in PARTS for result in call.results):
        return True
    given = [*call.args, *call.kwargs.values()]
    return any(isinstance(x, Complex) for a in given for x in (a if isinstance(a, list) else [a]))


def lower_complex(call: Call) -> Complex | Virtual | tuple[Any, ...]:
    """Lower an operation on complex tensors.

    Raises:
        UnsupportedError: The operation is not supported on complex tensors.
    """
    name = call.name
    parts = replace(call, results=tuple(replace(r, dtype=PARTS.get(r.dtype, r.dtype)) for r in call.results))
    if name in _OWN:
        return _OWN[name](parts)
    if name in CREATION:
        real = CREATION[name](parts)
        assert isinstance(real, Virtual)
        return Complex(real, _zero(real))
    if name in _PARTWISE:
        return _partwise(parts, _PARTWISE[name])
    raise UnsupportedError(f"the operation {name} of complex numbers")


def _zero(v: Virtual) -> Virtual:
    return Virtual(v.dims, v.dtype, lambda _: Const(0.0, v.dtype))


def _complex(value: Any, dtype: str) -> Complex:
    """Convert a tensor or a number to a complex tensor with parts of a dtype."""
    if isinstance(value, Complex):
        return value
    if isinstance(value, Virtual):
        real = Virtual(value.dims, dtype, lambda index: cast(value.at(index), dtype))
        return Complex(real, _zero(real))
    parts = (value.real, value.imag) if isinstance(value, complex) else (value, 0.0)
    real, imag = (Virtual((), dtype, lambda _, p=p: scalar(p, dtype)) for p in parts)  # type: ignore[misc]
    return Complex(real, imag)


def _partwise(call: Call, lowering: Lowering) -> Complex | tuple[Any, ...]:
    """Apply a lowering to both parts. Real operands of sums and lists have no imaginary part; indices are kept."""
    dtype = call.dtype

    def chosen(value: Any, imaginary: bool, mixed: bool) -> Any:
        if isinstance(value, list):
            some = any(isinstance(x, Complex) for x in value)
            return [chosen(x, imaginary, some) for x in value]
        if isinstance(value, Complex) or (mixed and isinstance(value, Virtual | int | float | complex)):
            z = _complex(value, dtype)
            return z.imag if imaginary else z.real
        return value

    def part(imaginary: bool) -> Any:
        summed = call.name in _SUMS
        args = tuple(chosen(a, imaginary, summed and position < 2) for position, a in enumerate(call.args))
        return lowering(replace(call, args=args))

    real, imag = part(imaginary=False), part(imaginary=True)
    if isinstance(real, tuple):
        return tuple(Complex(a, b) for a, b in zip(real, imag, strict=True))
    return Complex(real, imag)


def _elementwise(
    call: Call, fn: Callable[..., _Pair], operands: list[Any], shape: tuple[Size, ...] | None = None
) -> Complex:
    """Apply `fn` to the pairs of parts of the elements of the operands."""
    dtype = call.dtype
    given = [_complex(x, dtype) for x in operands]
    flat = [part for z in given for part in (z.real, z.imag)]

    def part(position: int) -> Virtual:
        def value(*elements: Expr) -> Expr:
            pairs = [(elements[2 * k], elements[2 * k + 1]) for k in range(len(given))]
            return fn(*pairs)[position]

        return call.builder.pointwise(flat, call.shape if shape is None else shape, dtype, value, call.name)

    return Complex(part(0), part(1))


def _op(name: str, *args: Expr) -> Expr:
    return Op(name, args, args[0].dtype)


def _product(a: _Pair, b: _Pair) -> _Pair:
    real = _op("sub", _op("mul", a[0], b[0]), _op("mul", a[1], b[1]))
    return real, _op("add", _op("mul", a[0], b[1]), _op("mul", a[1], b[0]))


def _quotient(a: _Pair, b: _Pair) -> _Pair:
    size = _op("add", _op("mul", b[0], b[0]), _op("mul", b[1], b[1]))
    top = _product(a, (b[0], _op("neg", b[1])))
    return _op("div", top[0], size), _op("div", top[1], size)


def _scaled(name: str) -> ComplexLowering:
    """Return a lowering of a product or quotient. A real factor or divisor applies to each part separately."""
    whole = _product if name == "mul" else _quotient

    def lower(call: Call) -> Complex:
        a, b = call.args[:2]
        if isinstance(b, Complex | complex) or not isinstance(a, Complex):
            if name == "mul" and not isinstance(a, Complex | complex):
                return _elementwise(call, lambda x, y: (_op("mul", x[0], y[0]), _op("mul", x[0], y[1])), [a, b])
            return _elementwise(call, whole, [a, b])
        return _elementwise(call, lambda x, y: (_op(name, x[0], y[0]), _op(name, x[1], y[0])), [a, b])

    return lower


def _of_parts(fn: Callable[[Expr, Expr], Expr]) -> ComplexLowering:
    """Return a lowering that computes a real number from each complex one."""

    def lower(call: Call) -> Virtual:
        z = call.args[0]
        return call.builder.pointwise([z.real, z.imag], call.shape, call.dtype, fn, call.name)

    return lower


def _map(fn: Callable[[_Pair], _Pair]) -> ComplexLowering:
    return lambda call: _elementwise(call, fn, [call.args[0]])


def _polar(size: Expr, angle: Expr) -> _Pair:
    return _op("mul", size, _op("cos", angle)), _op("mul", size, _op("sin", angle))


def _made(fn: Callable[[Expr, Expr], _Pair]) -> ComplexLowering:
    """Return a lowering that makes a complex tensor from two real ones."""
    return lambda call: _elementwise(call, lambda a, b: fn(a[0], b[0]), list(call.args[:2]))


def _copy(call: Call) -> Complex | Virtual:
    """Lower a copy or a conversion of the dtype."""
    z, lowering = call.args[0], POINTWISE["aten.clone.default"]
    if isinstance(z, Complex):
        found = _partwise(call, lowering)
        assert isinstance(found, Complex)
        return found
    return _complex(z, call.dtype)


def _matmul(call: Call) -> Complex:
    """Lower a matrix product as four real ones."""
    a, b = (_complex(x, call.dtype) for x in call.args[:2])

    def times(x: Virtual, y: Virtual) -> Virtual:
        found = CONTRACTIONS[call.name](replace(call, args=(x, y)))
        assert isinstance(found, Virtual)
        return found

    def joined(name: str, x: Virtual, y: Virtual) -> Virtual:
        return call.builder.pointwise([x, y], call.shape, call.dtype, lambda p, q: _op(name, p, q), call.name)

    real = joined("sub", times(a.real, b.real), times(a.imag, b.imag))
    return Complex(real, joined("add", times(a.real, b.imag), times(a.imag, b.real)))


_SUMS = frozenset(f"aten.{n}.{o}" for n in ("add", "sub") for o in ("Tensor", "Scalar"))
_INDEXED = ("aten.gather.default", "aten.embedding.default", "aten.index_select.default", "aten.index.Tensor")
_PARTWISE: dict[str, Lowering] = {
    **{name: lowering for name, lowering in VIEWS.items() if name != "aten.constant_pad_nd.default"},
    **{name: INDEXING[name] for name in _INDEXED},
    **{n: k for n, k in REDUCTIONS.items() if n.split(".")[1] in ("sum", "mean", "cumsum")},
    **{name: POINTWISE[name] for name in (*_SUMS, "aten.neg.default")},
}
_COPIES = ("_to_copy", "clone", "contiguous", "alias", "detach", "lift_fresh_copy", "resolve_conj")
_OWN: dict[str, ComplexLowering] = {
    **{f"aten.{n}.default": _copy for n in _COPIES},
    **{f"aten.mul.{o}": _scaled("mul") for o in ("Tensor", "Scalar")},
    **{f"aten.div.{o}": _scaled("div") for o in ("Tensor", "Scalar")},
    **{
        f"aten.{n}.default": _map(lambda z: (z[0], _op("neg", z[1])))
        for n in ("_conj", "conj_physical", "_conj_physical")
    },
    **{f"aten.{n}.default": _matmul for n in ("mm", "bmm")},
    "prims.convert_element_type.default": _copy,
    "aten.view_as_complex.default": lambda call: of_pairs(call.tensor(0)),
    "aten.view_as_real.default": lambda call: to_pairs(call, call.args[0]),
    "aten.complex.default": _made(lambda a, b: (a, b)),
    "aten.polar.default": _made(_polar),
    "aten.abs.default": _of_parts(lambda a, b: _op("hypot", a, b)),
    "aten.angle.default": _of_parts(lambda a, b: _op("atan2", b, a)),
    "aten.exp.default": _map(lambda z: _polar(_op("exp", z[0]), z[1])),
    "aten.reciprocal.default": _map(lambda z: _quotient((Const(1.0, z[0].dtype), Const(0.0, z[0].dtype)), z)),
}
