"""A call of an ATen operation on virtual tensors, numbers and symbolic sizes, as lowerings receive it."""

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
    """The shape and dtype of a result, from the export."""

    shape: tuple[Size, ...]
    dtype: str


@dataclass(frozen=True)
class Call:
    """A call of an ATen operation. Dtypes are strings such as `float32`, symbolic numbers are sympy expressions."""

    builder: Builder
    """Collects the statements."""
    name: str
    """The name with overload, such as `aten.add.Tensor`."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Result, ...]

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument that is given by position or by name, or the default."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def tensor(self, position: int, name: str = "") -> Virtual:
        """Return an argument that must be a tensor.

        Raises:
            UnsupportedError: It is not a tensor.
        """
        value = self.get(position, name)
        if not isinstance(value, Virtual):
            raise UnsupportedError(f"{self.name} with argument {position} that is not a tensor")
        return value

    @property
    def shape(self) -> tuple[Size, ...]:
        """The shape of the first result."""
        return self.results[0].shape

    @property
    def dtype(self) -> str:
        """The dtype of the first result."""
        return self.results[0].dtype


Lowering = Callable[[Call], Virtual | tuple[Virtual | None, ...]]
"""A function that adds the statements of a call and returns its results; None for a result that is not supported."""


def scalar(value: Any, dtype: str) -> Expr:
    """Convert a Python number, a symbolic size or an expression to an expression of a dtype."""
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
    """Return a tensor unchanged, and a number as a tensor without dimensions."""
    if isinstance(value, Virtual):
        return value
    literal = scalar(value, dtype)
    return Virtual((), dtype, lambda _: literal)


def dim_of(value: Any, rank: int) -> int:
    """Return a dimension as a nonnegative number; 0 for a tensor without dimensions."""
    return int(value) % rank if rank else 0


def dims_arg(value: Any, rank: int) -> tuple[int, ...]:
    """Return the dimensions of an argument that is None, a number or a list. None and an empty list mean all."""
    if value is None or (isinstance(value, Sequence) and not value):
        return tuple(range(rank))
    if isinstance(value, Sequence):
        return tuple(dim_of(v, rank) for v in value)
    return (dim_of(value, rank),)


def size(value: Any) -> Size:
    """Convert a number to a size."""
    return sympy.sympify(value)


def number(term: IndexTerm) -> Expr:
    """Return an index term as an expression of dtype int64."""
    return as_expr(term)
