"""Lowerings of operations that create tensors from numbers."""

from __future__ import annotations

from kernelevolve.synthesis.traced.builder import cast
from kernelevolve.synthesis.traced.expr import FLOATS, Expr, Op
from kernelevolve.synthesis.traced.lowering.call import Call, Lowering, number, scalar
from kernelevolve.synthesis.traced.virtual import Virtual, dims_of


def _filled(call: Call, value: object) -> Virtual:
    literal = scalar(value, call.dtype)
    return Virtual(dims_of(call.shape), call.dtype, lambda _: literal)


def _arange(call: Call) -> Virtual:
    name = call.name
    if name == "aten.arange.default":
        start, step = 0, 1
    else:
        start, step = call.get(0, "start", 0), call.get(2, "step", 1)
    dtype = call.dtype

    def at(index: tuple[object, ...]) -> Expr:
        work = "float64" if dtype in FLOATS else "int64"
        position = cast(number(index[0]), work)
        scaled = position if step == 1 else Op("mul", (position, scalar(step, work)), work)
        return cast(scaled if start == 0 else Op("add", (scaled, scalar(start, work)), work), dtype)

    if call.shape[0] == 1:
        return _filled(call, start)
    return Virtual(dims_of(call.shape), dtype, at)


def _iota(call: Call) -> Virtual:
    return _arange(Call(call.builder, "iota", (call.kwargs["start"], None, call.kwargs["step"]), {}, call.results))


CREATION: dict[str, Lowering] = {
    # The content of an empty tensor is arbitrary, so zeros will do.
    **{f"aten.{n}.default": lambda c: _filled(c, 0) for n in ("empty_like", "new_empty", "empty_permuted")},
    **{f"aten.{n}.default": lambda c: _filled(c, 0) for n in ("empty_strided", "new_empty_strided")},
    "aten.empty.memory_format": lambda c: _filled(c, 0),
    **{f"aten.{n}.default": lambda c: _filled(c, 0) for n in ("zeros", "zeros_like", "new_zeros")},
    **{f"aten.{n}.default": lambda c: _filled(c, 1) for n in ("ones", "ones_like", "new_ones")},
    **{f"aten.{n}.default": lambda c: _filled(c, c.args[1]) for n in ("full", "full_like")},
    **{f"aten.arange.{o}": _arange for o in ("default", "start", "start_step")},
    "aten.new_full.default": lambda c: _filled(c, c.args[2]),
    **{f"{n}.scalar_tensor.default": lambda c: _filled(c, c.args[0]) for n in ("aten", "prims")},
    "aten.fill.Scalar": lambda c: _filled(c, c.args[1]),
    "prims.iota.default": _iota,
}
