"""A traced operator: buffers, and the statements that define them, in an order that can be executed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import sympy

from kernelevolve.synthesis.traced.expr import Expr, Load, Size, buffers_read
from kernelevolve.synthesis.traced.signature import Arguments, Returned
from kernelevolve.tasks.structure import Plain


class Role(StrEnum):
    """Where a buffer comes from."""

    INPUT = "input"
    PARAMETER = "parameter"
    """A tensor that the module holds: `Buffer.attribute` is where."""
    CONSTANT = "constant"
    """A tensor that the reference builds: `Program.constants` has its values."""
    INTERMEDIATE = "intermediate"
    OUTPUT = "output"


@dataclass(frozen=True)
class Axis:
    """A loop variable that runs from 0 to extent - 1."""

    symbol: sympy.Symbol
    extent: Size


@dataclass(frozen=True)
class Buffer:
    """Contiguous storage, row-major over `extents`."""

    name: str
    extents: tuple[Size, ...]
    dtype: str
    role: Role
    attribute: str = ""
    """An expression of `self`."""


@dataclass(frozen=True, eq=False)
class Compute:
    """buffer[axes + offset] = value, for every index tuple. With an offset it defines a part of the buffer."""

    buffer: str
    axes: tuple[Axis, ...]
    value: Expr
    hint: str = ""
    """The ATen operation that it came from: for readers of the emitted code."""
    offset: tuple[Size, ...] = ()
    """One term per axis; empty where the statement defines the whole buffer."""


@dataclass(frozen=True, eq=False)
class Reduce:
    """buffer[axes] = combine(value over reduced), `kind` one of sum prod min max any all argmin argmax.

    argmin and argmax give the index of the first extremum, counted row-major over `reduced`.
    """

    buffer: str
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    kind: str
    value: Expr
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Contract:
    """buffer[axes] = sum over reduced of left * right: matrix products, batched or not, and convolutions."""

    buffer: str
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    left: Load
    right: Load
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Scan:
    """buffer[axes] = running combination of value along `along` (one of axes), `kind` one of sum prod min max."""

    buffer: str
    axes: tuple[Axis, ...]
    along: Axis
    kind: str
    value: Expr
    hint: str = ""


@dataclass(frozen=True, eq=False)
class SegmentReduce:
    """buffer[segment, axes...] = combine(value at position p, for p in first[segment] .. last[segment] - 1).

    `first` and `last` are int64 expressions over the segment axis, `position` the symbol that `value` uses for p.
    An empty segment gives 0. `kind` is sum, mean or max.
    """

    buffer: str
    axes: tuple[Axis, ...]
    position: Axis
    """Its extent is a bound only."""
    first: Expr
    last: Expr
    kind: str
    value: Expr
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Scatter:
    """buffer = initial, then buffer[index] = value, or combined with value, for every index tuple of `axes`, in order.

    `kind` is one of set sum prod max min.
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
    """buffer[axes] = the index, along `position`, of the element of rank `along` (one of axes, an int64 result).

    `value` is a function of the other axes and of `position`, which has at least as many elements as `along` has ranks. Equal
    elements keep their order, and NaN lies behind all numbers, in front of them where `descending`.
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
    """A whole buffer as a tensor: with `shape` in the order of memory, its dimensions then permuted by `order`."""

    buffer: str
    shape: tuple[Size, ...]
    order: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LibraryCall:
    """buffer = operation(operands), which vendors' libraries have tuned: a writer may leave it to them, or write `expansion` instead.

    `operation` is one of
    - `convolution`: input, weight and, where there is one, bias; stride, padding, dilation, whether transposed, what is added to the
      result then, groups;
    - `matmul`: two matrices, or two batches of them;
    - `addmm`: what is added, and two matrices; beta and alpha.
    """

    buffer: str
    operation: str
    operands: tuple[Operand, ...]
    arguments: tuple[object, ...]
    expansion: tuple[Statement, ...]
    """Statements that compute the same; the last defines the buffer."""
    work: Size
    """Multiplications, roughly."""
    hint: str = ""
    axes: tuple[Axis, ...] = ()
    """None: it has no loops that could be fused."""


Statement = Compute | Reduce | Contract | Scan | SegmentReduce | Scatter | Sort | LibraryCall


@dataclass(frozen=True)
class Output:
    """One tensor that forward returns, or writes back: a buffer, seen in its logical shape."""

    buffer: str
    shape: tuple[Size, ...]
    dtype: str
    attribute: str = ""
    """Of the module, an expression of `self`: the buffer that takes its values; empty where it is returned."""
    argument: str = ""
    """The input buffer whose tensor takes its values; empty where it is returned."""

    @property
    def returned(self) -> bool:
        return not self.attribute and not self.argument


@dataclass(frozen=True)
class Program:
    """What forward computes.

    `sizes` says where each symbolic size is read: symbol name -> (input buffer, dimension). `hints` are their values for the
    main inputs and `variants` for the further shapes: worth specialising for. Buffers that nothing defines are inputs,
    parameters or constants.
    """

    buffers: dict[str, Buffer]
    statements: tuple[Statement, ...]
    inputs: tuple[str | None, ...]
    """Buffers in the order of forward's arguments; None for an argument that is not a tensor."""
    outputs: tuple[Output, ...]
    arguments: Arguments
    """How the inputs are nested; x0, x1, ... are its leaves."""
    fixed: dict[str, Plain]
    """Leaves that are no tensors, by name: the program is right for these values alone."""
    returned: Returned
    """What forward returns, out of results of the graph, which are"""
    results: tuple[int | Size, ...]
    """an output, by its number, or a size."""
    sizes: dict[str, tuple[str, int]]
    hints: dict[str, int]
    input_shapes: dict[str, tuple[Size, ...]]
    constants: dict[str, list[float | int | bool]] = field(default_factory=dict)
    """Flat, row-major."""
    ranges: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """Least and greatest values of the sizes that the trace holds for some of only; None: no greatest."""
    conditions: tuple[str, ...] = ()
    """What else the trace takes for granted of sizes, by their names, as expressions of Python."""
    modes: dict[str, bool] = field(default_factory=dict)
    """The modules that look at their mode, training or evaluation, by dotted name, and the mode that the program was traced in."""


def reads(statement: Statement) -> list[str]:
    """Buffers that a statement reads, each once."""
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
    """What a statement computes from elements; nothing for a call of a library, which takes whole buffers."""
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
