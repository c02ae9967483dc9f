"""A traced program: buffers, and the statements that define them, in an executable order."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import sympy

from kernelevolve.synthesis.traced.expr import Expr, Load, Size, buffers_read
from kernelevolve.synthesis.traced.signature import Arguments, Returned
from kernelevolve.tasks.structure import Plain


class Role(StrEnum):
    """The kind of a buffer."""

    INPUT = "input"
    PARAMETER = "parameter"
    """A tensor that the module holds under `Buffer.attribute`."""
    CONSTANT = "constant"
    """A constant tensor, whose values are in `Program.constants`."""
    INTERMEDIATE = "intermediate"
    OUTPUT = "output"


@dataclass(frozen=True)
class Axis:
    """A loop variable that runs from 0 to extent - 1."""

    symbol: sympy.Symbol
    extent: Size


@dataclass(frozen=True)
class Buffer:
    """Contiguous row-major storage."""

    name: str
    extents: tuple[Size, ...]
    dtype: str
    role: Role
    attribute: str = ""
    """The tensor of a parameter, as an expression of `self`; empty for other roles."""


@dataclass(frozen=True, eq=False)
class Compute:
    """buffer[axes + offset] = value, for every index tuple. With an offset it defines a part of the buffer."""

    buffer: str
    axes: tuple[Axis, ...]
    value: Expr
    hint: str = ""
    """The ATen operation that it came from, for comments in the emitted code."""
    offset: tuple[Size, ...] = ()
    """The start of the part that it defines, one term per axis; empty if it defines the whole buffer."""


@dataclass(frozen=True, eq=False)
class Reduce:
    """buffer[axes] = combination of value over `reduced`.

    `kind` is one of sum, prod, min, max, any, all, argmin and argmax. argmin and argmax give the row-major index of the
    first extremum over `reduced`.
    """

    buffer: str
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    kind: str
    value: Expr
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Contract:
    """buffer[axes] = sum over `reduced` of left * right, for matrix products, batched or not, and convolutions."""

    buffer: str
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    left: Load
    right: Load
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Scan:
    """buffer[axes] = running combination of value along one of the axes. `kind` is one of sum, prod, min and max."""

    buffer: str
    axes: tuple[Axis, ...]
    along: Axis
    kind: str
    value: Expr
    hint: str = ""


@dataclass(frozen=True, eq=False)
class SegmentReduce:
    """buffer[segment, axes...] = combination of value at the positions first[segment] to last[segment] - 1.

    `first` and `last` are int64 expressions of the segment axis. `value` is an expression of `position` and the other
    axes. An empty segment gives 0. `kind` is sum, mean or max.
    """

    buffer: str
    axes: tuple[Axis, ...]
    position: Axis
    """The position within the operand. Its extent is an upper bound."""
    first: Expr
    last: Expr
    kind: str
    value: Expr
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Scatter:
    """buffer = initial; then buffer[index] is set to or combined with value, for every index tuple of `axes`, in order.

    `kind` is one of set, sum, prod, max and min.
    """

    buffer: str
    axes: tuple[Axis, ...]
    index: tuple[Expr, ...]
    value: Expr
    kind: str
    initial_axes: tuple[Axis, ...]
    initial: Expr
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Sort:
    """buffer[axes] = the index along `position` of the element of rank `along`, as int64.

    `along` is one of the axes. `value` is an expression of the other axes and of `position`, whose extent is at least
    that of `along`. The sort is stable. NaN is greater than all numbers.
    """

    buffer: str
    axes: tuple[Axis, ...]
    along: Axis
    position: Axis
    descending: bool
    value: Expr
    hint: str = ""


@dataclass(frozen=True)
class Operand:
    """A whole buffer as a tensor: it is viewed with `shape`, in the order of memory, and then permuted by `order`."""

    buffer: str
    shape: tuple[Size, ...]
    order: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LibraryCall:
    """buffer = operation(operands), emitted as a call of a library or as the statements of `expansion`.

    `operation` is one of
    - `convolution`: the operands are input, weight and optionally bias; the arguments are stride, padding, dilation,
      transposed, output padding and groups.
    - `matmul`: the operands are two matrices or two batches of matrices.
    - `addmm`: the operands are the summand and two matrices; the arguments are beta and alpha.
    """

    buffer: str
    operation: str
    operands: tuple[Operand, ...]
    arguments: tuple[object, ...]
    expansion: tuple[Statement, ...]
    """Statements that compute the same. The last one defines the buffer."""
    work: Size
    """The approximate number of multiplications."""
    hint: str = ""
    axes: tuple[Axis, ...] = ()
    """Always empty, since it has no loops to fuse."""


Statement = Compute | Reduce | Contract | Scan | SegmentReduce | Scatter | Sort | LibraryCall


@dataclass(frozen=True)
class Output:
    """A tensor that `forward` returns or writes back: a buffer in its logical shape."""

    buffer: str
    shape: tuple[Size, ...]
    dtype: str
    attribute: str = ""
    """The attribute of the module that takes its values, as an expression of `self`; empty if it is returned."""
    argument: str = ""
    """The input buffer whose tensor takes its values; empty if it is returned."""

    @property
    def returned(self) -> bool:
        """Whether `forward` returns the tensor, rather than writing it back."""
        return not self.attribute and not self.argument


@dataclass(frozen=True)
class Program:
    """The computation of `forward`.

    Buffers that no statement defines are inputs, parameters or constants.
    """

    buffers: dict[str, Buffer]
    statements: tuple[Statement, ...]
    inputs: tuple[str | None, ...]
    """The buffers of the leaves of the arguments, in order; None for a leaf that is not a tensor."""
    outputs: tuple[Output, ...]
    arguments: Arguments
    """The nesting of the arguments, whose leaves are x0, x1, and so on."""
    fixed: dict[str, Plain]
    """The leaves that are not tensors, by name. The program is valid for these values only."""
    returned: Returned
    """The result of `forward`, built from `results`."""
    results: tuple[int | Size, ...]
    """The results of the graph, each an output by its number, or a size."""
    sizes: dict[str, tuple[str, int]]
    """The input buffer and the dimension of each symbolic size, by the name of its symbol."""
    hints: dict[str, int]
    """The value of each symbolic size for the main inputs, by the name of its symbol."""
    input_shapes: dict[str, tuple[Size, ...]]
    """The shape of each input buffer."""
    constants: dict[str, list[float | int | bool]] = field(default_factory=dict)
    """The values of each constant buffer, flat and row-major."""
    ranges: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """The least and greatest value of each size that the trace restricts; None for no greatest value."""
    conditions: tuple[str, ...] = ()
    """Further conditions on sizes under which the trace is valid, as Python expressions of their names."""
    modes: dict[str, bool] = field(default_factory=dict)
    """The `training` flags that the program was traced with, by the dotted name of each module that reads its flag."""


def reads(statement: Statement) -> list[str]:
    """Return the buffers that a statement reads, each once."""
    match statement:
        case Compute(value=value) | Reduce(value=value) | Scan(value=value) | Sort(value=value):
            return buffers_read(value)
        case Contract(left=left, right=right):
            return list(dict.fromkeys([*buffers_read(left), *buffers_read(right)]))
        case SegmentReduce(first=first, last=last, value=value):
            return list(dict.fromkeys([*buffers_read(first), *buffers_read(last), *buffers_read(value)]))
        case Scatter(index=index, value=value, initial=initial):
            parts = [name for e in (*index, value, initial) for name in buffers_read(e)]
            return list(dict.fromkeys(parts))
        case LibraryCall(operands=operands):
            return list(dict.fromkeys(o.buffer for o in operands))


def expressions(statement: Statement) -> list[Expr]:
    """Return the scalar expressions of a statement. A library call has none, since it takes whole buffers."""
    match statement:
        case Compute(value=value) | Reduce(value=value) | Scan(value=value) | Sort(value=value):
            return [value]
        case Contract(left=left, right=right):
            return [left, right]
        case SegmentReduce(first=first, last=last, value=value):
            return [first, last, value]
        case Scatter(index=index, value=value, initial=initial):
            return [*index, value, initial]
        case LibraryCall():
            return []
