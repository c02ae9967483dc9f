"""Memory layouts: buffers are row-major over all dimensions, scratch buffers cover one block of rows only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import sympy

from kernelevolve.synthesis.builtin.cpp.scalar import index_text
from kernelevolve.synthesis.builtin.plan.schedule import FusedGroup
from kernelevolve.synthesis.traced.expr import Expr, IndexTerm, Load, Search, Size
from kernelevolve.synthesis.traced.program import Axis, Program, Role, Scatter, Statement, reads

LOW = sympy.Symbol("lo", integer=True, nonnegative=True)
"""The first row of the block, whose rows are lo to hi - 1."""


@dataclass(frozen=True)
class Layout:
    """The layout of a scratch buffer."""

    kinds: tuple[str, ...]
    """The kind of each dimension: `skip` if a block has one element of it, `tile` for the block's rows, or `full`."""
    extents: tuple[Size, ...]

    def size(self) -> Size:
        """Return the number of elements."""
        total: Size = sympy.Integer(1)
        for kind, extent in zip(self.kinds, self.extents, strict=True):
            total = total if kind == "skip" else total * extent
        return total


def scratch_layouts(group: FusedGroup, rows: int, program: Program, outside: set[str]) -> dict[str, Layout]:
    """Return the layouts of the buffers that only this group uses, which are those not in `outside`."""
    layouts: dict[str, Layout] = {}
    for position, s in enumerate(group.statements):
        if s.buffer in outside or program.buffers[s.buffer].role is not Role.INTERMEDIATE or s.buffer in layouts:
            continue
        shared = [row[position].symbol for row in group.shared]
        kinds, extents = [], []
        for axis, extent in zip(_axes(s), program.buffers[s.buffer].extents, strict=True):
            if shared and axis.symbol == shared[-1]:
                kinds.append("tile")
                extents.append(sympy.Integer(rows))
            elif axis.symbol in shared:
                kinds.append("skip")
                extents.append(extent)
            else:
                kinds.append("full")
                extents.append(extent)
        layouts[s.buffer] = Layout(tuple(kinds), tuple(extents))
    return layouts


def _axes(s: Statement) -> tuple[Axis, ...]:
    return s.initial_axes if isinstance(s, Scatter) else s.axes


def read_elsewhere(groups: list[FusedGroup]) -> list[set[str]]:
    """Return for each group the buffers that other groups read or write."""
    touched = [{r for s in g.statements for r in (*reads(s), s.buffer)} for g in groups]
    counts = Counter(n for names in touched for n in names)
    shared = {n for n, count in counts.items() if count > 1}
    return [shared | {n for n in counts if n not in names} for names in touched]


class Addresses:
    """Writes accesses to buffers as C++ text."""

    def __init__(self, program: Program, layouts: dict[str, Layout]) -> None:
        self.program = program
        self.layouts = layouts

    def _parts(self, buffer: str, index: tuple[IndexTerm, ...]) -> list[tuple[IndexTerm, Size]]:
        layout = self.layouts.get(buffer)
        extents = layout.extents if layout else self.program.buffers[buffer].extents
        kinds = layout.kinds if layout else ("full",) * len(extents)
        parts: list[tuple[IndexTerm, Size]] = []
        stride: Size = sympy.Integer(1)
        for term, extent, kind in reversed(list(zip(index, extents, kinds, strict=True))):
            if kind == "skip":
                continue
            if kind == "tile" and isinstance(term, sympy.Basic):
                term = term - LOW  # noqa: PLW2901 - the local row
            parts.append((term, stride))
            stride = stride * extent
        return parts[::-1]

    def offset(self, buffer: str, index: tuple[IndexTerm, ...]) -> Size | None:
        """Return the position of an element as an expression, or None if it depends on loaded values."""
        total: Size = sympy.Integer(0)
        for term, stride in self._parts(buffer, index):
            if not isinstance(term, sympy.Basic):
                return None
            total = total + term * stride
        return sympy.expand(total)

    def element(self, load: Load, show: Callable[[Expr], str]) -> str:
        """Return the text of an element. `show` prints loaded index terms."""
        return f"{load.buffer}[{self._text(load.buffer, load.index, show)}]"

    def row(self, search: Search, show: Callable[[Expr], str]) -> str:
        """Return the text of a pointer to the start of the sorted row."""
        index = (*search.row, sympy.Integer(0))
        return f"{search.buffer} + {self._text(search.buffer, index, show)}"

    def _text(self, buffer: str, index: tuple[IndexTerm, ...], show: Callable[[Expr], str]) -> str:
        offset = self.offset(buffer, index)
        if offset is not None:
            return index_text(offset)
        plain: Size = sympy.Integer(0)
        texts = []
        for term, stride in self._parts(buffer, index):
            if isinstance(term, sympy.Basic):
                plain = plain + term * stride
            else:
                texts.append(show(term) if stride == 1 else f"{show(term)} * {index_text(stride)}")
        if plain != 0:
            texts.append(index_text(sympy.expand(plain)))
        return " + ".join(texts)
