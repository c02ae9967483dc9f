"""Lowerings of activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable

from kernelevolve.synthesis.traced.builder import cast, compute_dtype
from kernelevolve.synthesis.traced.expr import Expr
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering
from kernelevolve.synthesis.traced.lowering.pointwise import clamp, compare, elementwise, literal, op, where
from kernelevolve.synthesis.traced.virtual import Virtual


def _unary(call: Call, fn: Callable[[Expr], Expr]) -> Virtual:
    work = compute_dtype(call.dtype)
    return call.builder.pointwise([call.tensor(0)], call.shape, call.dtype, lambda x: fn(cast(x, work)), call.name)


def _relu(x: Expr) -> Expr:
    return op("max", x, literal(0, x))


def _gelu(call: Call) -> Virtual:
    tanh = call.kwargs.get("approximate", call.get(1, "approximate", "none")) == "tanh"

    def fn(x: Expr) -> Expr:
        half = op("mul", literal(0.5, x), x)
        if tanh:
            cube = op("mul", op("mul", x, x), x)
            inner = op("add", x, op("mul", literal(0.044715, x), cube))
            inside = op("tanh", op("mul", literal(math.sqrt(2 / math.pi), x), inner))
        else:
            inside = op("erf", op("mul", x, literal(math.sqrt(0.5), x)))
        return op("mul", half, op("add", literal(1.0, x), inside))

    return _unary(call, fn)


def _silu(x: Expr) -> Expr:
    return op("mul", x, op("sigmoid", x))


def _leaky_relu(call: Call) -> Virtual:
    slope = call.get(1, "negative_slope", 0.01)
    return _unary(call, lambda x: where(compare("gt", x, literal(0, x)), x, op("mul", x, literal(slope, x))))


def _elu(call: Call) -> Virtual:
    alpha, scale, inner = (call.get(i, n, 1.0) for i, n in ((1, "alpha"), (2, "scale"), (3, "input_scale")))

    def fn(x: Expr) -> Expr:
        negative = op("mul", op("expm1", op("mul", x, literal(inner, x))), literal(alpha * scale, x))
        return where(compare("gt", x, literal(0, x)), op("mul", x, literal(scale, x)), negative)

    return _unary(call, fn)


def _hardtanh(call: Call) -> Virtual:
    low, high = call.get(1, "min_val", -1.0), call.get(2, "max_val", 1.0)
    return _unary(call, lambda x: clamp(x, literal(low, x), literal(high, x)))


ACTIVATIONS: dict[str, Lowering] = {
    "aten.relu.default": elementwise(_relu, 1),
    "aten.silu.default": elementwise(_silu, 1),
    "aten.gelu.default": _gelu,
    "aten.leaky_relu.default": _leaky_relu,
    "aten.elu.default": _elu,
    "aten.hardtanh.default": _hardtanh,
}
