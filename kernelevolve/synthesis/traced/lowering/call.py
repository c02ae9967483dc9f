"""One call of an ATen operation, as the lowerings see it: no torch, only virtual tensors, numbers and symbolic sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from kernelevolve.synthesis.traced.builder import Builder, UnsupportedError, cast
from kernelevolve.synthesis.traced.expr import Const, Expr, IndexTerm, IndexValue, Load, Op, Size, as_expr
from kernelevolve.synthesis.traced.virtual import Virtual


@dataclass(frozen=True)
class Result:
    """Shape and dtype of one result, from the export."""

    shape: tuple[Size, ...]
    dtype: str


@dataclass(frozen=True)
class Call:
    """Arguments by position or name; dtypes are strings such as `float32`, symbolic numbers are sympy expressions."""

    builder: Builder
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Result, ...]

    def get(self, position: int, name: str, default: Any = None) -> Any:
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def tensor(self, position: int, name: str = "") -> Virtual:
        value = self.get(position, name)
        if not isinstance(value, Virtual):
            raise UnsupportedError(f"{self.name} with argument {position} that is not a tensor")
        return value

    @property
    def shape(self) -> tuple[Size, ...]:
        return self.results[0].shape

    @property
    def dtype(self) -> str:
        return self.results[0].dtype


Lowering = Callable[[Call], Virtual | tuple[Virtual | None, ...]]


def scalar(value: Any, dtype: str) -> Expr:
    """A Python number or a symbolic size as a literal of dtype."""
    if isinstance(value, bool):
        return cast(Const(value, "bool"), dtype)
    if isinstance(value, int | float):
        return cast(Const(value, "float64" if isinstance(value, float) else "int64"), dtype)
    if isinstance(value, sympy.Basic):
        if isinstance(value, sympy.Integer):
            return scalar(int(value), dtype)
        return cast(IndexValue(value), dtype)
    if isinstance(value, Const | IndexValue | Op | Load):
        return cast(value, dtype)
    raise UnsupportedError(f"a number of type {type(value).__name__}")


def operand(value: Any, dtype: str) -> Virtual:
    """A tensor as it is, a number as a tensor of no dimensions."""
    if isinstance(value, Virtual):
        return value
    literal = scalar(value, dtype)
    return Virtual((), dtype, lambda _: literal)


def dim_of(value: Any, rank: int) -> int:
    return int(value) % rank if rank else 0


def dims_arg(value: Any, rank: int) -> tuple[int, ...]:
    """A dim argument that may be None, a number or a list; None and the empty list mean all."""
    if value is None or (isinstance(value, Sequence) and not value):
        return tuple(range(rank))
    if isinstance(value, Sequence):
        return tuple(dim_of(v, rank) for v in value)
    return (dim_of(value, rank),)


def size(value: Any) -> Size:
    return sympy.sympify(value)


def number(term: IndexTerm) -> Expr:
    return as_expr(term)
