"""The choice of the shared axes of a group that run in parallel, and the merging of neighbouring ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import sympy

from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.schedule import FusedGroup
from kernelevolve.synthesis.builtin.plan.transform import map_expressions, walks_as_one
from kernelevolve.synthesis.traced.expr import Load, substitute
from kernelevolve.synthesis.traced.program import (
    Axis,
    Compute,
    Contract,
    Program,
    Reduce,
    SegmentReduce,
    Statement,
    expressions,
)


def arranged(g: FusedGroup, name: str, program: Program, choices: Choices) -> FusedGroup:
    """Return the group with the shared axes that run in parallel. The others are left to the statements."""
    if not g.shared:
        return g
    shared = list(g.shared)
    for position, s in enumerate(g.statements):
        if isinstance(s, Contract | SegmentReduce) and s.axes:
            column = s.axes[-1].symbol
            places = [k for k, row in enumerate(shared) if row[position].symbol == column]
            if places:
                shared = shared[: places[0]]
    g = _collapsed(FusedGroup(g.statements, tuple(shared)), program)
    if not g.shared:
        return g
    only_rows = all(len(all_axes(s)) == len(g.shared) for s in g.statements)
    if only_rows and len(g.shared) > 1 and not choices.flag(f"{name}.flat", False):
        return FusedGroup(g.statements, g.shared[:-1])
    return g


def all_axes(s: Statement) -> tuple[Axis, ...]:
    return (*s.axes, *getattr(s, "reduced", ()), *((s.position,) if hasattr(s, "position") else ()))


def _collapsed(g: FusedGroup, program: Program) -> FusedGroup:
    """Merge neighbouring shared axes that every access walks through as one."""
    k = 0
    while k + 1 < len(g.shared):
        merged = _merge(g, k, program)
        if merged is None:
            k += 1
        else:
            g = merged
    return g


def _merge(g: FusedGroup, k: int, program: Program) -> FusedGroup | None:
    outer_row, inner_row = g.shared[k], g.shared[k + 1]
    inner_extent = inner_row[0].extent
    total = sympy.expand(outer_row[0].extent * inner_extent)
    statements: list[Statement] = []
    for position, s in enumerate(g.statements):
        outer, inner = outer_row[position], inner_row[position]
        if not isinstance(s, Compute | Reduce | Contract) or (isinstance(s, Compute) and s.offset):
            return None
        written = Load(s.buffer, tuple(a.symbol for a in s.axes), "")
        if not walks_as_one([written, *expressions(s)], outer, inner, program.buffers):
            return None
    for position, s in enumerate(g.statements):
        outer, inner = outer_row[position], inner_row[position]
        wide = Axis(inner.symbol, total)
        zero = {outer.symbol: sympy.Integer(0)}
        fresh = map_expressions(s, partial(substitute, mapping=zero))
        axes = tuple(_point(a) if a is outer else (wide if a is inner else a) for a in s.axes)
        statements.append(replace(fresh, axes=axes))
    row = tuple(Axis(inner_row[p].symbol, total) for p in range(len(statements)))
    shared = (*g.shared[:k], row, *g.shared[k + 2 :])
    fixed = tuple(
        tuple(next(a for a in s.axes if a.symbol == r[p].symbol) for p, s in enumerate(statements)) for r in shared
    )
    return FusedGroup(tuple(statements), fixed)


def _point(axis: Axis) -> Axis:
    """Return the axis with a single value. A merged axis stays in place like this, so that indices keep their rank."""
    return Axis(axis.symbol, sympy.Integer(1))
