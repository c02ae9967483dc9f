"""Lowerings of elementwise operations besides activation functions."""

from __future__ import annotations

from collections.abc import Callable

from kernelevolve.synthesis.traced.builder import cast, compute_dtype
from kernelevolve.synthesis.traced.expr import FLOATS, Const, Expr, Op
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, operand, scalar
from kernelevolve.synthesis.traced.lowering.promotion import result_type
from kernelevolve.synthesis.traced.virtual import Virtual


def op(name: str, *args: Expr) -> Expr:
    """Return an operation with the dtype of its first argument."""
    return Op(name, args, args[0].dtype)


def compare(name: str, a: Expr, b: Expr) -> Expr:
    """Return a comparison, of dtype bool."""
    return Op(name, (a, b), "bool")


def where(condition: Expr, a: Expr, b: Expr) -> Expr:
    """Return `a` if the condition holds, otherwise `b`."""
    return Op("where", (condition, a, b), a.dtype)


def literal(value: float | int, like: Expr) -> Expr:
    """Return a number with the dtype of an expression."""
    return scalar(value, like.dtype)


def _operands(call: Call, count: int, dtype: str) -> list[Virtual]:
    return [operand(call.args[i], dtype) for i in range(count)]


def _taken(call: Call, count: int, rounds: bool) -> tuple[list[Virtual], Callable[[Expr, int], Expr]]:
    """Return the operands, and a function that converts an element of the operand at a position to the compute dtype.

    If the result is half precision, elements are rounded to it first; those of operands without dimensions only if
    `rounds` is set.
    """
    work = compute_dtype(call.dtype)
    operands = _operands(call, count, call.dtype if rounds else work)

    def take(x: Expr, position: int) -> Expr:
        return cast(cast(x, call.dtype) if rounds or operands[position].dims else x, work)

    return operands, take


def elementwise(fn: Callable[..., Expr], count: int, rounds: bool = False) -> Lowering:
    """Return a lowering that applies `fn` to elements cast to the dtype of the result."""

    def lower(call: Call) -> Virtual:
        operands, take = _taken(call, count, rounds)

        def value(*elements: Expr) -> Expr:
            return fn(*(take(x, i) for i, x in enumerate(elements)))

        return call.builder.pointwise(operands, call.shape, call.dtype, value, call.name)

    return lower


def _named(name: str, count: int, rounds: bool = False) -> Lowering:
    return elementwise(lambda *a: op(name, *a), count, rounds)


def _comparison(name: str) -> Lowering:
    def lower(call: Call) -> Virtual:
        work = compute_dtype(result_type(*call.args[:2]))
        operands = _operands(call, 2, work)
        return call.builder.pointwise(
            operands, call.shape, "bool", lambda a, b: compare(name, cast(a, work), cast(b, work)), call.name
        )

    return lower


def _logical(name: str, count: int) -> Lowering:
    def lower(call: Call) -> Virtual:
        operands = _operands(call, count, "bool")
        return call.builder.pointwise(
            operands, call.shape, "bool", lambda *a: Op(name, tuple(cast(x, "bool") for x in a), "bool"), call.name
        )

    return lower


def _bitwise(name: str, on_bool: str, count: int) -> Lowering:
    plain, logical = _named(name, count), _logical(on_bool, count)
    return lambda call: logical(call) if call.dtype == "bool" else plain(call)


def _add(sign: str) -> Lowering:
    def lower(call: Call) -> Virtual:
        work = compute_dtype(call.dtype)
        alpha = call.get(2, "alpha", 1)
        operands, take = _taken(call, 2, rounds=True)

        def fn(a: Expr, b: Expr) -> Expr:
            a, b = take(a, 0), take(b, 1)
            if alpha == 1:
                return op(sign, a, b)
            factor = cast(scalar(alpha if sign == "add" else -alpha, call.dtype), work)
            return op("fma", b, factor, a) if work in FLOATS else op("add", a, op("mul", b, factor))

        return call.builder.pointwise(operands, call.shape, call.dtype, fn, call.name)

    return lower


def _div(call: Call) -> Virtual:
    mode = call.kwargs.get("rounding_mode")
    work = compute_dtype(call.dtype)
    operands, take = _taken(call, 2, rounds=False)

    def fn(a: Expr, b: Expr) -> Expr:
        a, b = take(a, 0), take(b, 1)
        if mode is None:
            return op("div", a, b)
        if work in FLOATS and mode == "trunc":
            return op("trunc", op("div", a, b))
        return op("floordiv" if mode == "floor" else "truncdiv", a, b)

    return call.builder.pointwise(operands, call.shape, call.dtype, fn, call.name)


def _pow(base: Expr, exponent: Expr) -> Expr:
    if isinstance(exponent, Const):
        power = float(exponent.value)
        if power == 0:
            return literal(1, base)
        if power == 0.5 and base.dtype in FLOATS:
            return op("sqrt", base)
        if power == -0.5 and base.dtype in FLOATS:
            return op("rsqrt", base)
        if power in range(-8, 9) and (power > 0 or base.dtype in FLOATS):
            result, count = base, int(abs(power))
            square: Expr | None = None
            if count % 2 == 0 and count > 1:
                square = op("mul", base, base)
                result = square
                for _ in range(count // 2 - 1):
                    result = op("mul", result, square)
            else:
                for _ in range(count - 1):
                    result = op("mul", result, base)
            return result if power > 0 else op("reciprocal", result)
    return op("pow", base, exponent)


def _pow_lowering(call: Call) -> Virtual | tuple[Virtual | None, ...]:
    """Lower pow. In half precision PyTorch does not use roots, whose results differ for -0.0 and -inf."""
    half = call.dtype in ("float16", "bfloat16")
    fn = (lambda a, b: op("pow", a, b)) if half else _pow
    return elementwise(fn, 2, rounds=True)(call)


def clamp(x: Expr, low: Expr | None, high: Expr | None) -> Expr:
    """Return an expression between two limits, each None if there is none."""
    if low is not None:
        x = op("max", x, low)
    return x if high is None else op("min", x, high)


def _clamp_lowering(call: Call) -> Virtual:
    work = compute_dtype(call.dtype)
    given = [call.get(1, "min"), call.get(2, "max")]
    operands = [call.tensor(0), *(operand(g, work) for g in given if g is not None)]

    def fn(x: Expr, *bounds: Expr) -> Expr:
        rest = [cast(b, work) for b in bounds]
        low = rest.pop(0) if given[0] is not None else None
        return clamp(cast(x, work), low, rest.pop(0) if given[1] is not None else None)

    return call.builder.pointwise(operands, call.shape, call.dtype, fn, call.name)


def _where(call: Call) -> Virtual:
    work = call.dtype
    operands = [operand(call.args[0], "bool"), operand(call.args[1], work), operand(call.args[2], work)]
    return call.builder.pointwise(
        operands, call.shape, work, lambda c, a, b: where(cast(c, "bool"), cast(a, work), cast(b, work)), call.name
    )


def _masked_fill(call: Call) -> Virtual:
    work = call.dtype
    operands = [call.tensor(0), call.tensor(1), operand(call.args[2], work)]
    return call.builder.pointwise(
        operands, call.shape, work, lambda x, c, v: where(cast(c, "bool"), cast(v, work), x), call.name
    )


def _copy(call: Call) -> Virtual:
    x = call.tensor(0)
    if x.dtype == call.dtype:
        return x
    return call.builder.pointwise([x], call.shape, call.dtype, lambda e: cast(e, call.dtype), call.name)


def _predicate(name: str) -> Lowering:
    def lower(call: Call) -> Virtual:
        x = call.tensor(0)
        if x.dtype not in FLOATS:
            return call.builder.pointwise([x], call.shape, "bool", lambda _: Const(False, "bool"), call.name)
        work = compute_dtype(x.dtype)
        return call.builder.pointwise([x], call.shape, "bool", lambda e: Op(name, (cast(e, work),), "bool"), call.name)

    return lower


def _signbit(call: Call) -> Virtual:
    x = call.tensor(0)
    if x.dtype == "bool":
        return call.builder.pointwise([x], call.shape, "bool", lambda _: Const(False, "bool"), call.name)
    work = compute_dtype(x.dtype)
    return call.builder.pointwise([x], call.shape, "bool", lambda e: Op("signbit", (cast(e, work),), "bool"), call.name)


def _lerp(call: Call) -> Virtual:
    """Lower lerp, from the nearer end as in PyTorch, so that both ends are exact."""
    work = compute_dtype(call.dtype)

    def fn(a: Expr, b: Expr, w: Expr) -> Expr:
        a, b, w = cast(a, work), cast(b, work), cast(w, work)
        way = op("sub", b, a)
        near = compare("lt", op("abs", w), literal(0.5, w))
        far = op("sub", b, op("mul", way, op("sub", literal(1, w), w)))
        return where(near, op("add", a, op("mul", w, way)), far)

    return call.builder.pointwise(_operands(call, 3, work), call.shape, call.dtype, fn, call.name)


def _addcmul(name: str) -> Lowering:
    def lower(call: Call) -> Virtual:
        work = compute_dtype(call.dtype)
        value = call.kwargs.get("value", 1)

        def fn(a: Expr, b: Expr, c: Expr) -> Expr:
            a, b, c = cast(a, work), cast(b, work), cast(c, work)
            scaled = b if value == 1 else op("mul", scalar(value, work), b)
            if name == "mul" and work in FLOATS:
                return op("fma", scaled, c, a)
            return op("add", a, op(name, scaled, c))

        return call.builder.pointwise(_operands(call, 3, work), call.shape, call.dtype, fn, call.name)

    return lower


def _number_where_nan(name: str) -> Lowering:
    """Return a lowering to the larger or smaller of two elements, in which a number wins over NaN."""

    def fn(a: Expr, b: Expr) -> Expr:
        if a.dtype not in FLOATS:
            return op(name, a, b)
        b_if_a_is_nan = where(Op("isnan", (a,), "bool"), b, op(name, a, b))
        return where(Op("isnan", (b,), "bool"), a, b_if_a_is_nan)

    return elementwise(fn, 2)


def _copysign(a: Expr, b: Expr) -> Expr:
    size = op("abs", a)
    return where(Op("signbit", (b,), "bool"), op("neg", size), size)


_UNARY = (
    *("neg", "abs", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "sigmoid", "floor", "ceil", "trunc", "round"),
)
_INTEGER_IDENTITY = ("floor", "ceil", "trunc", "round")


def _unary_named(name: str) -> Lowering:
    plain = _named(name, 1)
    if name not in _INTEGER_IDENTITY:
        return plain
    return lambda call: plain(call) if call.dtype in FLOATS else call.tensor(0)


_OPERANDS = ("Tensor", "Tensor_Scalar", "Scalar_Tensor")


POINTWISE: dict[str, Lowering] = {
    **{f"aten.{name}.default": _unary_named(name) for name in _UNARY},
    **{f"aten.{n}.{o}": _comparison(n) for n in ("lt", "le", "gt", "ge", "eq", "ne") for o in ("Tensor", "Scalar")},
    **{f"aten.add.{o}": _add("add") for o in ("Tensor", "Scalar")},
    **{f"aten.sub.{o}": _add("sub") for o in ("Tensor", "Scalar")},
    **{f"aten.mul.{o}": _named("mul", 2) for o in ("Tensor", "Scalar")},
    **{f"aten.div.{o}": _div for o in ("Tensor", "Scalar", "Tensor_mode", "Scalar_mode")},
    **{f"aten.pow.{o}": _pow_lowering for o in ("Tensor_Scalar", "Tensor_Tensor", "Scalar")},
    **{f"aten.remainder.{o}": _named("mod", 2, rounds=True) for o in ("Tensor", "Scalar", "Scalar_Tensor")},
    **{f"aten.fmod.{o}": _named("fmod", 2, rounds=True) for o in ("Tensor", "Scalar")},
    **{f"aten.clamp.{o}": _clamp_lowering for o in ("default", "Tensor")},
    **{f"aten.bitwise_and.{o}": _bitwise("and", "and", 2) for o in ("Tensor", "Scalar")},
    **{f"aten.bitwise_or.{o}": _bitwise("or", "or", 2) for o in ("Tensor", "Scalar")},
    **{f"aten.bitwise_xor.{o}": _bitwise("xor", "xor", 2) for o in ("Tensor", "Scalar")},
    **{f"aten.where.{o}": _where for o in ("self", "ScalarSelf", "ScalarOther", "Scalar")},
    **{f"aten.masked_fill.{o}": _masked_fill for o in ("Scalar", "Tensor")},
    **{f"aten.lerp.{o}": _lerp for o in ("Tensor", "Scalar")},
    **{f"aten.__{n}__.{o}": _bitwise(n, n, 2) for n in ("and", "or", "xor") for o in ("Tensor", "Scalar")},
    "aten.floor_divide.default": lambda c: _div(Call(c.builder, c.name, c.args, {"rounding_mode": "floor"}, c.results)),
    "aten.bitwise_not.default": _bitwise("bitnot", "not", 1),
    **{f"aten.bitwise_left_shift.{o}": _named("shl", 2) for o in _OPERANDS},
    **{f"aten.bitwise_right_shift.{o}": _named("shr", 2) for o in _OPERANDS},
    **{f"aten.__lshift__.{o}": _named("shl", 2) for o in ("Tensor", "Scalar")},
    **{f"aten.__rshift__.{o}": _named("shr", 2) for o in ("Tensor", "Scalar")},
    "aten.logical_not.default": _logical("not", 1),
    "aten.logical_and.default": _logical("and", 2),
    "aten.logical_or.default": _logical("or", 2),
    "aten.logical_xor.default": _logical("xor", 2),
    "aten.maximum.default": _named("max", 2),
    "aten.minimum.default": _named("min", 2),
    "aten.fmax.default": _number_where_nan("max"),
    "aten.fmin.default": _number_where_nan("min"),
    "aten.copysign.Tensor": elementwise(_copysign, 2),
    "aten.copysign.Scalar": elementwise(_copysign, 2),
    "aten.signbit.default": _signbit,
    "aten.clamp_min.default": lambda c: _clamp_lowering(Call(c.builder, c.name, c.args, {}, c.results)),
    "aten.clamp_max.default": lambda c: _clamp_lowering(
        Call(c.builder, c.name, c.args[:1], {"max": c.args[1]}, c.results)
    ),
    "aten.atan2.default": _named("atan2", 2),
    "aten.hypot.default": _named("hypot", 2),
    "aten.sign.default": _named("sign", 1),
    "aten.sgn.default": _named("sign", 1),
    "aten.square.default": elementwise(lambda x: op("mul", x, x), 1),
    "aten.isnan.default": _predicate("isnan"),
    "aten.isinf.default": _predicate("isinf"),
    "aten.addcmul.default": _addcmul("mul"),
    "aten.addcdiv.default": _addcmul("div"),
    "aten._to_copy.default": _copy,
    "aten.to.dtype": _copy,
    "aten.clone.default": _copy,
    "aten.contiguous.default": _copy,
    "aten.alias.default": _copy,
    "aten.detach.default": _copy,
    "aten.lift_fresh_copy.default": _copy,
    "prims.convert_element_type.default": _copy,
}
"""The lowerings. clone and contiguous need no copy, because tensors are functions and outputs are always stored."""
