"""Grouping statements into fused loop nests.

A group runs one parallel loop over the *shared* axes, which all of its statements have. The loop runs over blocks of rows of the last
shared axis. Within a block the statements run one after the other, and what only they use lives in a small scratch buffer of the thread.
Norms, softmaxes, attention, and chains of products with their epilogues therefore take one pass over memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import sympy

from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.transform import extent_hint
from kernelevolve.synthesis.traced.expr import Load, Search, Size, walk
from kernelevolve.synthesis.traced.program import (
    Axis,
    Compute,
    Contract,
    LibraryCall,
    Program,
    Reduce,
    Role,
    Scan,
    Scatter,
    SegmentReduce,
    Sort,
    Statement,
    expressions,
    reads,
)


@dataclass(frozen=True)
class FusedGroup:
    """Statements that run together, block by block.

    `shared[k]` holds the k-th shared axis of each statement; all of these have the same extent. A group without shared axes runs on one
    thread, or parallelises a reduction.
    """

    statements: tuple[Statement, ...]
    shared: tuple[tuple[Axis, ...], ...]

    @property
    def extents(self) -> tuple[Size, ...]:
        return tuple(row[0].extent for row in self.shared)


def shared_axes(statements: tuple[Statement, ...], program: Program) -> tuple[tuple[Axis, ...], ...]:
    """Return the axes that all statements have, and that every access inside of the group keeps."""
    defined: dict[str, list[int]] = {}
    for position, s in enumerate(statements):
        defined.setdefault(s.buffer, []).append(position)
    parent: dict[tuple[int, sympy.Symbol], tuple[int, sympy.Symbol]] = {}
    broken: set[tuple[int, sympy.Symbol]] = set()

    def find(x: tuple[int, sympy.Symbol]) -> tuple[int, sympy.Symbol]:
        while parent.get(x, x) != x:
            x = parent[x]
        return x

    for position, s in enumerate(statements):
        for axis in _own(s):
            if program.buffers[s.buffer].role is Role.PARAMETER:
                broken.add((position, axis.symbol))
        if isinstance(s, Scan | Sort):
            broken.add((position, s.along.symbol))
        if isinstance(s, Scatter):
            # Any step may write to any place: one thread does all of it, from the initial values on.
            broken.update((position, a.symbol) for a in (*s.axes, *s.initial_axes))
        if isinstance(s, Compute):
            broken.update((position, a.symbol) for a, o in zip(s.axes, s.offset, strict=False) if o != 0)
            extents = program.buffers[s.buffer].extents
            broken.update(
                (position, a.symbol) for a, e in zip(s.axes, extents, strict=True) if sympy.expand(a.extent - e) != 0
            )
        # A size is a symbol as well, but stands for one place.
        own = {a.symbol for a in (*_own(s), *_inner(s), *s.axes)}
        for expr in expressions(s):
            for node in walk(expr):
                if isinstance(node, Search) and node.buffer in defined:
                    for source in defined[node.buffer]:
                        broken.update((source, a.symbol) for a in _own(statements[source]))
                if not isinstance(node, Load) or node.buffer not in defined:
                    continue
                for source in defined[node.buffer]:
                    for axis, term in zip(_own(statements[source]), node.index, strict=True):
                        if term in own:
                            parent[find((source, axis.symbol))] = find((position, term))
                        else:
                            broken.add((source, axis.symbol))
    for sources in defined.values():
        for other in sources[1:]:
            for a, b in zip(_own(statements[sources[0]]), _own(statements[other]), strict=True):
                parent[find((other, b.symbol))] = find((sources[0], a.symbol))
    for position in range(len(statements)):
        if not _linked(position, statements, defined):
            _align(position, statements, parent, find)
    roots_broken = {find(x) for x in broken}
    for position, s in enumerate(statements):
        roots_broken.update(find((position, a.symbol)) for a in _inner(s))
    rows: list[tuple[Axis, ...]] = []
    for axis in _own(statements[-1]):
        root = find((len(statements) - 1, axis.symbol))
        if root in roots_broken:
            continue
        row: list[Axis] = []
        for position, s in enumerate(statements):
            match = [a for a in _own(s) if find((position, a.symbol)) == root]
            if len(match) == 1:
                row.append(match[0])
        if len(row) == len(statements) and all(sympy.expand(a.extent - row[0].extent) == 0 for a in row):
            rows.append(tuple(row))
    return tuple(rows)


_Place = tuple[int, sympy.Symbol]
"""An axis of the statement at a position, as (position, axis)."""


def _linked(position: int, statements: tuple[Statement, ...], defined: Mapping[str, list[int]]) -> bool:
    """Return whether the statement at a position shares a buffer with another one of the group that one of them defines."""
    s = statements[position]
    return any(defined.get(name, [position]) != [position] for name in (*reads(s), s.buffer)) or any(
        s.buffer in reads(other) for other in statements if other is not s
    )


def _align(
    position: int,
    statements: tuple[Statement, ...],
    parent: dict[_Place, _Place],
    find: Callable[[_Place], _Place],
) -> None:
    """Align the axes of a statement that nothing ties to the others of its group.

    They could run in step with any axes. Those at the same depth that index the same dimension of a buffer that both read are chosen.
    """
    s = statements[position]
    own = {a.symbol: (depth, a) for depth, a in enumerate(_own(s))}
    taken: set[_Place] = set()
    for other, t in enumerate(statements):
        if other == position:
            continue
        theirs = {a.symbol: (depth, a) for depth, a in enumerate(_own(t))}
        for mine, load in product(_plain_loads(s), _plain_loads(t)):
            if mine.buffer != load.buffer:
                continue
            for a, b in zip(mine.index, load.index, strict=True):
                if not (isinstance(a, sympy.Symbol) and isinstance(b, sympy.Symbol) and a in own and b in theirs):
                    continue
                root = find((other, b))
                (depth, axis), (level, pair) = own[a], theirs[b]
                alike = depth == level and sympy.expand(axis.extent - pair.extent) == 0
                if alike and find((position, a)) == (position, a) and root not in taken:
                    parent[position, a] = root
                    taken.add(root)


def _plain_loads(s: Statement) -> list[Load]:
    return [n for e in expressions(s) for n in walk(e) if isinstance(n, Load)]


def _own(s: Statement) -> tuple[Axis, ...]:
    return s.initial_axes if isinstance(s, Scatter) else s.axes


def _inner(s: Statement) -> tuple[Axis, ...]:
    match s:
        case Reduce() | Contract():
            return s.reduced
        case SegmentReduce() | Sort():
            return (s.position,)
        case _:
            return ()


def parallelism(shared: tuple[tuple[Axis, ...], ...], hints: dict[str, int]) -> int:
    total = 1
    for row in shared:
        total *= extent_hint(row[0].extent, hints)
    return total


def group(program: Program, choices: Choices, alone: set[str]) -> list[FusedGroup]:
    """Divide the statements of a program into fused groups, greedily and in order.

    A statement joins the last group if enough parallel work remains. A library call is a group of its own.

    Args:
        program: The program.
        choices: The knobs.
        alone: The buffers that are computed beforehand. Their statements are left out.
    """
    statements = [s for s in program.statements if s.buffer not in alone]
    groups: list[list[Statement]] = []
    enough = 16
    for s in statements:
        joined = False
        if groups and not isinstance(s, LibraryCall) and not isinstance(groups[-1][0], LibraryCall):
            candidate = (*groups[-1], s)
            before = parallelism(shared_axes(tuple(groups[-1]), program), program.hints)
            after = parallelism(shared_axes(candidate, program), program.hints)
            possible = after >= min(enough, before) and after > 1 and _related(groups[-1], s)
            if possible:
                joined = not choices.flag(f"split.{s.buffer}", after < min(32, before))
        if joined:
            groups[-1].append(s)
        else:
            groups.append([s])
    return [
        FusedGroup(tuple(g), () if isinstance(g[0], LibraryCall) else shared_axes(tuple(g), program)) for g in groups
    ]


def _related(members: list[Statement], s: Statement) -> bool:
    """Return whether fusing `s` saves memory traffic: it reads something that a member writes or reads."""
    written = {m.buffer for m in members}
    read = {r for m in members for r in reads(m)}
    return bool((written | read) & {*reads(s), s.buffer})
