"""Rewrites of a program before it is scheduled, such as the order of products and the layout of operands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from math import prod

import sympy

from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.traced.expr import (
    Expr,
    IndexTerm,
    IndexValue,
    Load,
    Search,
    Size,
    divides_axes,
    rewrite,
    substitute,
    walk,
)
from kernelevolve.synthesis.traced.program import (
    Axis,
    Buffer,
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


def extent_hint(extent: Size, hints: dict[str, int]) -> int:
    """Return the size for the main inputs."""
    value = extent.subs({s: hints[s.name] for s in extent.free_symbols})
    return int(value)


def map_expressions(statement: Statement, fn: Callable[[Expr], Expr]) -> Statement:
    match statement:
        case Contract():
            left, right = fn(statement.left), fn(statement.right)
            if not (isinstance(left, Load) and isinstance(right, Load)):
                raise ValueError("an operand of a contraction became an expression")
            return replace(statement, left=left, right=right)
        case SegmentReduce():
            return replace(statement, first=fn(statement.first), last=fn(statement.last), value=fn(statement.value))
        case Scatter():
            index = tuple(fn(e) for e in statement.index)
            return replace(statement, index=index, value=fn(statement.value), initial=fn(statement.initial))
        case Compute() | Reduce() | Scan() | Sort():
            return replace(statement, value=fn(statement.value))
        case LibraryCall():
            return statement


def affine(load: Load) -> bool:
    """Return whether every index term is a sum of multiples of axes, as the operands of a product need."""
    return not any(isinstance(t, sympy.Basic) and divides_axes(t) for t in load.index)


def collapse_reductions(program: Program) -> Program:
    """Merge neighbouring reduced axes that every access walks through as one. Short axes then run as long vectors."""
    statements: list[Statement] = []
    for s in program.statements:
        fresh = s
        k = 0
        while isinstance(fresh, Reduce) and not fresh.kind.startswith("arg") and k + 1 < len(fresh.reduced):
            merged = _merged(fresh, k, program)
            if merged is None:
                k += 1
            else:
                fresh = merged
        statements.append(fresh)
    return replace(program, statements=tuple(statements))


def _merged(s: Reduce, k: int, program: Program) -> Reduce | None:
    outer, inner = s.reduced[k], s.reduced[k + 1]
    if not walks_as_one(list(expressions(s)), outer, inner, program.buffers):
        return None
    value = substitute(s.value, {outer.symbol: sympy.Integer(0)})
    wide = Axis(inner.symbol, sympy.expand(outer.extent * inner.extent))
    return replace(s, value=value, reduced=(*s.reduced[:k], wide, *s.reduced[k + 2 :]))


def walks_as_one(roots: list[Expr], outer: Axis, inner: Axis, buffers: dict[str, Buffer]) -> bool:
    """Return whether one step of `outer` moves every access as far as `inner.extent` steps of `inner`."""
    both = {outer.symbol, inner.symbol}
    for root in roots:
        for node in walk(root):
            if isinstance(node, IndexValue) and both & node.index.free_symbols:
                return False
            if isinstance(node, Search) and any(both & t.free_symbols for t in node.row if isinstance(t, sympy.Basic)):
                return False
            if isinstance(node, Load):
                a, b = (axis_stride(node, x, buffers) for x in (outer, inner))
                if a is None or b is None or sympy.expand(a - b * inner.extent) != 0:
                    return False
    return True


def retarget(program: Program) -> Program:
    """Compute what a result merely copies directly into the result."""
    statements = list(program.statements)
    buffers = dict(program.buffers)
    for copy in program.statements:
        if not isinstance(copy, Compute) or buffers[copy.buffer].role is not Role.OUTPUT:
            continue
        source = copy.value
        # What several results copy is computed in place of the first; the others copy that.
        if not isinstance(source, Load) or source.buffer not in buffers:
            continue
        if buffers[source.buffer].role is not Role.INTERMEDIATE:
            continue
        if source.index != tuple(a.symbol for a in copy.axes) or source.dtype != buffers[copy.buffer].dtype:
            continue
        old, new = source.buffer, copy.buffer

        def swap(node: Expr, old: str = old, new: str = new) -> Expr | None:
            return Load(new, node.index, node.dtype) if isinstance(node, Load) and node.buffer == old else None

        if any(isinstance(n, Search) and n.buffer == old for s in statements for e in expressions(s) for n in walk(e)):
            continue
        moved: list[Statement] = []
        for s in statements:
            if s is not copy:
                fresh = _of_operand(map_expressions(s, partial(rewrite, leaf=swap)), old, new)
                moved.append(replace(fresh, buffer=new) if s.buffer == old else fresh)
        statements = moved
        del buffers[old]
    return replace(program, statements=tuple(statements), buffers=buffers)


def _of_operand(s: Statement, old: str, new: str) -> Statement:
    """Return a library call with one buffer replaced by another. Other statements are returned unchanged."""
    if not isinstance(s, LibraryCall):
        return s
    return replace(s, operands=tuple(replace(o, buffer=new) if o.buffer == old else o for o in s.operands))


def pruned(program: Program, statements: Iterable[Statement]) -> Program:
    """Return the program with other statements, and only the buffers that these use."""
    statements = tuple(statements)
    used = {n for s in statements for n in (*reads(s), s.buffer)}
    buffers = {n: b for n, b in program.buffers.items() if n in used or b.role is Role.INPUT}
    constants = {n: v for n, v in program.constants.items() if n in used}
    return replace(program, statements=statements, buffers=buffers, constants=constants)


def reassociate(program: Program, choices: Choices) -> Program:
    """Compute products of three factors in the order that a knob names: (ab)c as written, (ac)b or (bc)a.

    sum_q (sum_p a*b) * c is rewritten as one sum of a*b*c over p and q, and divided again. The default is the order with the fewest
    multiplications for the main shapes, which is the matrix chain problem for three factors.
    """
    statements = list(program.statements)
    buffers = dict(program.buffers)
    for outer in list(statements):
        if not isinstance(outer, Contract):
            continue
        for side in ("left", "right"):
            inner_load: Load = getattr(outer, side)
            inner = next((s for s in statements if s.buffer == inner_load.buffer and isinstance(s, Contract)), None)
            if inner is None or sum(inner.buffer in reads(s) for s in statements) != 1:
                continue
            orders = _orders(outer, inner, side)
            if orders is None:
                continue
            ranked = sorted(orders, key=lambda o: _flops(orders[o], program.hints))
            chosen = choices.word(f"order.{outer.buffer}", *ranked)
            first, second = orders[chosen]
            if chosen != "ab":
                extents = tuple(a.extent for a in first.axes)
                buffers[first.buffer] = replace(buffers[inner.buffer], extents=extents)
                statements[statements.index(inner)] = first
                statements[statements.index(outer)] = second
            break
    return replace(program, statements=tuple(statements), buffers=buffers)


def _flops(pair: tuple[Contract, Contract], hints: dict[str, int]) -> int:
    return sum(prod(extent_hint(a.extent, hints) for a in (*c.axes, *c.reduced)) for c in pair)


def _orders(outer: Contract, inner: Contract, side: str) -> dict[str, tuple[Contract, Contract]] | None:
    link: Load = getattr(outer, side)
    c: Load = outer.right if side == "left" else outer.left
    if not all(isinstance(t, sympy.Symbol) for t in link.index):
        return None
    rename: dict[sympy.Symbol, IndexTerm] = {a.symbol: t for a, t in zip(inner.axes, link.index, strict=True)}
    a, b = substitute(inner.left, rename), substitute(inner.right, rename)
    if not (isinstance(a, Load) and isinstance(b, Load)):
        return None
    known = {x.symbol: x for x in (*outer.axes, *outer.reduced, *inner.reduced)}
    for factor in (a, b, c):
        symbols = [t for t in factor.index if t in known]
        if len(symbols) != len(set(symbols)) or not all(
            isinstance(t, sympy.Symbol | sympy.Integer) for t in factor.index
        ):
            return None
    results = {x.symbol for x in outer.axes}
    orders = {"ab": (inner, outer)}
    for name, (x, y, z) in {"ac": (a, c, b), "bc": (b, c, a)}.items():
        pair = {t for f in (x, y) for t in f.index if t in known}
        rest = {t for t in z.index if t in known}
        open_ = [known[s] for s in known if s in pair and (s in rest or s in results)]
        closed = [known[s] for s in known if s in pair and s not in rest and s not in results]
        later = [known[s] for s in known if s not in results and s not in {q.symbol for q in closed}]
        if not closed or not later:
            continue
        part = Load(inner.buffer, tuple(s.symbol for s in open_), link.dtype)
        first = Contract(inner.buffer, tuple(open_), tuple(closed), x, y, inner.hint)
        orders[name] = (first, Contract(outer.buffer, outer.axes, tuple(later), part, z, outer.hint))
    return orders if len(orders) > 1 else None


def axis_stride(load: Load, axis: Axis, buffers: Mapping[str, Buffer]) -> Size | None:
    """Return the distance in memory, in elements, of neighbours along an axis, or None if the index is not linear in it."""
    stride: Size = sympy.Integer(1)
    total: Size = sympy.Integer(0)
    for term, extent in zip(reversed(load.index), reversed(buffers[load.buffer].extents), strict=True):
        if not isinstance(term, sympy.Basic):
            if any(
                axis.symbol in t.free_symbols
                for n in walk(term)
                if isinstance(n, Load)
                for t in n.index
                if isinstance(t, sympy.Basic)
            ):
                return None
        elif axis.symbol in term.free_symbols:
            coefficient = sympy.expand(term).coeff(axis.symbol, 1)
            remainder = sympy.expand(term - coefficient * axis.symbol)
            if axis.symbol in remainder.free_symbols or axis.symbol in coefficient.free_symbols:
                return None
            total = total + coefficient * stride
        stride = stride * extent
    return sympy.expand(total)


def relayout(program: Program) -> Program:
    """Give every contraction a right operand that is contiguous along the innermost result axis.

    Other operands are replaced by transposed copies. Copies of parameters are computed once, see `prepared`.
    """
    statements: list[Statement] = []
    buffers = dict(program.buffers)
    copies: dict[tuple[str, tuple[sympy.Expr, ...]], str] = {}
    for s in program.statements:
        if not isinstance(s, Contract) or not s.axes:
            statements.append(s)
            continue
        column = s.axes[-1]
        left, right = s.left, s.right
        if axis_stride(right, column, buffers) == 0:
            left, right = right, left
        s = replace(s, left=left, right=right)  # noqa: PLW2901 - the same product, its factors in order
        across, own = axis_stride(right, column, buffers), axis_stride(left, column, buffers)
        if across is None or across == 0 or own != 0 or not row_candidates(s, buffers):
            statements.append(s)
            continue
        known = {a.symbol: a for a in (*s.axes, *s.reduced)}
        plain = [
            t
            for t in right.index
            if isinstance(t, sympy.Symbol | sympy.Integer) and (t in known or isinstance(t, sympy.Integer))
        ]
        if across != 1 and len(plain) == len(right.index):
            order = [t for t in plain if t.is_Symbol and t != column.symbol] + [column.symbol]
            label = (right.buffer, tuple(sympy.Integer(order.index(t)) if t in order else t for t in plain))
            if label not in copies:
                name = f"{right.buffer}_t{len(copies)}"
                axes = tuple(
                    Axis(sympy.Symbol(f"{name}_{i}", integer=True, nonnegative=True), known[t].extent)
                    for i, t in enumerate(order)
                )
                swap = dict(zip(order, (a.symbol for a in axes), strict=True))
                source = Load(right.buffer, tuple(t.xreplace(swap) for t in plain), right.dtype)
                buffers[name] = Buffer(name, tuple(a.extent for a in axes), right.dtype, Role.INTERMEDIATE)
                statements.append(Compute(name, axes, source, "transposed"))
                copies[label] = name
            right = Load(copies[label], tuple(order), right.dtype)
        statements.append(replace(s, right=right))
    return replace(program, statements=tuple(statements), buffers=buffers)


TRANSPOSED = ("float32", "float64", "int32", "int64")
"""The dtypes whose transposed copies can be written with vector shuffles."""


def transposed_axes(s: Statement, program: Program) -> tuple[Axis, Axis] | None:
    """Return the axes that a copy writes and reads along, or None unless they differ and both are long."""
    if not isinstance(s, Compute) or not isinstance(s.value, Load):
        return None
    source, target = s.value, Load(s.buffer, tuple(a.symbol for a in s.axes), program.buffers[s.buffer].dtype)
    if source.dtype != target.dtype or target.dtype not in TRANSPOSED:
        return None
    if not all(isinstance(t, sympy.Basic) for t in source.index):
        return None
    long = [a for a in s.axes if extent_hint(a.extent, program.hints) >= 8]
    reads = {a: axis_stride(source, a, program.buffers) for a in long}
    writes = {a: axis_stride(target, a, program.buffers) for a in long}
    q = next((a for a in long if reads[a] == 1 and writes[a] != 1), None)
    p = next((a for a in long if writes[a] == 1 and reads[a] != 1), None)
    return None if p is None or q is None else (p, q)


def row_candidates(s: Contract, buffers: Mapping[str, Buffer]) -> list[Axis]:
    """Return the result axes along which only the left operand varies: the rows of a matrix product. A matrix times a vector has none."""
    return [
        a
        for a in s.axes[:-1]
        if a.extent != 1 and axis_stride(s.right, a, buffers) == 0 and axis_stride(s.left, a, buffers) not in (None, 0)
    ]


def prepared(program: Program) -> set[str]:
    """Return the intermediates that depend only on constants and on parameters that no call changes."""
    changed = {o.attribute for o in program.outputs if o.attribute}
    fixed = {
        n
        for n, b in program.buffers.items()
        if b.role in (Role.PARAMETER, Role.CONSTANT) and b.attribute not in changed
    }
    varying = {b for b, r in program.buffers.items() if r.role is Role.OUTPUT}
    # A buffer is read behind all of its parts, so that one pass settles them in order.
    for s in program.statements:
        if isinstance(s, LibraryCall):
            varying.add(s.buffer)
            continue
        symbols = {t for a in s.axes for t in a.extent.free_symbols}
        if symbols or not reads(s) or not all(r in fixed for r in reads(s)):
            varying.add(s.buffer)
            fixed.discard(s.buffer)
        elif s.buffer not in varying:
            fixed.add(s.buffer)
    return {s.buffer for s in program.statements if s.buffer in fixed}
