"""The writer of statements as C++."""

from __future__ import annotations

import sympy

from kernelevolve.synthesis.builtin.cpp.statements.pointwise import PointwiseWriter
from kernelevolve.synthesis.builtin.cpp.statements.product import ProductWriter
from kernelevolve.synthesis.builtin.cpp.statements.sorting import SortWriter
from kernelevolve.synthesis.traced.program import (
    Axis,
    Compute,
    Contract,
    LibraryCall,
    Reduce,
    Scan,
    Scatter,
    SegmentReduce,
    Sort,
    Statement,
)


class StatementWriter(PointwiseWriter, ProductWriter, SortWriter):
    """Writes the statements of one group."""

    def write(self, s: Statement, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        """Return the lines of a statement.

        Args:
            s: The statement.
            tile: The axis of the statement along the rows of the block; None for none.
            fixed: The symbols of the axes that have one value in the block.
        """
        match s:
            case Compute():
                return self._compute(s, tile, fixed)
            case Reduce(kind=kind) if kind.startswith("arg"):
                return self._extremum(s, tile, fixed)
            case Reduce():
                return self._reduce(s, tile, fixed)
            case Contract():
                return self._contract(s, tile, fixed)
            case Scan():
                return self._scan(s, tile, fixed)
            case SegmentReduce():
                return self._segment(s, tile, fixed)
            case Sort():
                return self._sort(s, tile, fixed)
            case Scatter():
                return self._scatter(s)
            case LibraryCall():
                raise ValueError("a library call is not written as C++")
