"""Rewriting a program before it is scheduled: what is inlined, how products associate, how operands are laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import prod

import sympy

from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.traced.expr import (
    Expr,
    IndexTerm,
    Load,
    Op,
    Search,
    Size,
    loads,
    rewrite,
    substitute,
    walk,
)
from kernelevolve.synthesis.traced.program import (
    Axis,
    Buffer,
    Compute,
    Contract,
    Program,
    Reduce,
    Role,
    Scan,
    Scatter,
    SegmentReduce,
    Statement,
    expressions,
    reads,
)

_COST = dict.fromkeys(("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "erf", "erfc", "tanh", "sigmoid"), 10)
_COST |= dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "pow", "atan2", "fmod"), 20)
_COST |= dict.fromkeys(("div", "sqrt", "rsqrt", "reciprocal", "mod", "floordiv"), 4)


def cost(expr: Expr) -> int:
    """Rough work per element; loads and plain arithmetic count 1, searches a lot."""
    total = 0
    for node in walk(expr):
        match node:
            case Op(name=name):
                total += _COST.get(name, 1)
            case Search():
                total += 30
            case Load():
                total += 1
            case _:
                pass
    return total


def extent_hint(extent: Size, hints: dict[str, int]) -> int:
    """The size for the main inputs."""
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
        case Compute() | Reduce() | Scan():
            return replace(statement, value=fn(statement.value))


def inline(program: Program, choices: Choices) -> Program:
    """Replace loads of elementwise intermediates by what computes them, where that saves more than it repeats."""
    definers: dict[str, int] = {}
    for s in program.statements:
        definers[s.buffer] = definers.get(s.buffer, 0) + 1
    consumers: dict[str, list[Statement]] = {}
    searched: set[str] = set()
    for s in program.statements:
        for name in reads(s):
            consumers.setdefault(name, []).append(s)
        for e in expressions(s):
            searched.update(n.buffer for n in walk(e) if isinstance(n, Search))
    inlined: dict[str, Compute] = {}
    kept: list[Statement] = []

    def expand(expr: Expr) -> Expr:
        def swap(node: Expr) -> Expr | None:
            if isinstance(node, Load) and node.buffer in inlined:
                source = inlined[node.buffer]
                return substitute(source.value, {a.symbol: t for a, t in zip(source.axes, node.index, strict=True)})
            return None

        return rewrite(expr, swap)

    for s in program.statements:
        fresh = map_expressions(s, expand)
        if (
            isinstance(fresh, Compute)
            and definers[s.buffer] == 1
            and program.buffers[s.buffer].role is Role.INTERMEDIATE
            and s.buffer not in searched
            and _worth_inlining(fresh, consumers.get(s.buffer, []), choices)
        ):
            inlined[s.buffer] = fresh
        else:
            kept.append(fresh)
    return _pruned(program, kept)


def _pruned(program: Program, statements: Iterable[Statement]) -> Program:
    statements = tuple(statements)
    used = {n for s in statements for n in (*reads(s), s.buffer)}
    buffers = {n: b for n, b in program.buffers.items() if n in used or b.role is Role.INPUT}
    constants = {n: v for n, v in program.constants.items() if n in used}
    return replace(program, statements=statements, buffers=buffers, constants=constants)


def _worth_inlining(definition: Compute, consumers: list[Statement], choices: Choices) -> bool:
    plain = isinstance(definition.value, Load) and all(isinstance(t, sympy.Basic) for t in definition.value.index)
    if any(isinstance(c, Contract) for c in consumers):
        return plain and all(isinstance(c, Contract) or _pure(definition.value) for c in consumers)
    if isinstance(definition.value, Load) and plain:
        return True
    work = cost(definition.value)
    uses = sum(1 for c in consumers for e in expressions(c) for n in loads(e) if n.buffer == definition.buffer)
    if not consumers or work <= 3 or not definition.axes:
        return bool(consumers) and (uses == 1 or work <= 3)
    if uses == 1 and len(consumers) == 1 and not _revisits(definition, consumers[0]):
        return True
    return not choices.flag(f"store.{definition.buffer}", work >= 8)


def _pure(expr: Expr) -> bool:
    return isinstance(expr, Load)


def _revisits(definition: Compute, consumer: Statement) -> bool:
    """Whether the consumer reads each element more than once: it loops over axes that the definition lacks."""
    axes = len(consumer.axes)
    if isinstance(consumer, Reduce):
        axes += len(consumer.reduced)
    return axes > len(definition.axes)


def reassociate(program: Program, choices: Choices) -> Program:
    """Products of three factors in the order that the knob names: (ab)c as written, or (ac)b, (bc)a.

    sum_q (sum_p a*b) * c is pulled apart into one sum over p and q of a*b*c and paired anew; the default is the order with the
    fewest multiplications for the main shapes (the matrix chain problem for three factors).
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


def axis_stride(load: Load, axis: Axis, buffers: dict[str, Buffer]) -> Size | None:
    """How far apart in memory, in elements, neighbours along an axis are; None where it is not linear."""
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
    """Give every contraction a right operand that is contiguous along the innermost result axis, by a transposed copy
    where it is not. Copies of parameters alone are computed once, see `prepared`."""
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
        across, own = axis_stride(right, column, buffers), axis_stride(left, column, buffers)
        if across is None or across == 0 or own != 0:
            statements.append(s)
            continue
        if across != 1 and all(isinstance(t, sympy.Symbol | sympy.Integer) for t in right.index):
            order = [t for t in right.index if t.is_Symbol and t != column.symbol] + [column.symbol]
            known = {a.symbol: a for a in (*s.axes, *s.reduced)}
            label = (right.buffer, tuple(sympy.Integer(order.index(t)) if t in order else t for t in right.index))
            if label not in copies:
                name = f"{right.buffer}_t{len(copies)}"
                axes = tuple(
                    Axis(sympy.Symbol(f"{name}_{i}", integer=True, nonnegative=True), known[t].extent)
                    for i, t in enumerate(order)
                )
                swap = dict(zip(order, (a.symbol for a in axes), strict=True))
                source = Load(right.buffer, tuple(t.xreplace(swap) for t in right.index), right.dtype)
                buffers[name] = Buffer(name, tuple(a.extent for a in axes), right.dtype, Role.INTERMEDIATE)
                statements.append(Compute(name, axes, source, "transposed"))
                copies[label] = name
            right = Load(copies[label], tuple(order), right.dtype)
        statements.append(replace(s, left=left, right=right))
    return replace(program, statements=tuple(statements), buffers=buffers)


def prepared(program: Program) -> set[str]:
    """Intermediates that depend on parameters and constants alone."""
    fixed = {n for n, b in program.buffers.items() if b.role in (Role.PARAMETER, Role.CONSTANT)}
    varying = {b for b, r in program.buffers.items() if r.role is Role.OUTPUT}
    found: set[str] = set()
    for s in program.statements:
        symbols = {t for a in s.axes for t in a.extent.free_symbols}
        if s.buffer not in varying and not symbols and all(r in fixed for r in reads(s)) and reads(s):
            fixed.add(s.buffer)
            found.add(s.buffer)
    return found
