"""Inlining: intermediates are computed where they are needed instead of being stored."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import sympy

from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.transform import affine, map_expressions, pruned
from kernelevolve.synthesis.traced.expr import Expr, Load, Op, Search, key, rewrite, substitute, walk
from kernelevolve.synthesis.traced.program import (
    Compute,
    Contract,
    LibraryCall,
    Program,
    Reduce,
    Role,
    Statement,
    expressions,
    reads,
)

_FEW = 4
"""The most places at which a cheap value is computed again."""

_COST = dict.fromkeys(("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "erf", "erfc", "tanh", "sigmoid"), 10)
_COST |= dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "pow", "atan2", "fmod"), 20)
_COST |= dict.fromkeys(("div", "sqrt", "rsqrt", "reciprocal", "mod", "floordiv", "guard"), 4)


def cost(expr: Expr) -> int:
    """Return the rough work per element, in plain operations. A load counts 1, and a search many."""
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


def inline(program: Program, choices: Choices) -> Program:
    """Replace loads of elementwise intermediates by their expressions, if that saves more memory traffic than it repeats work."""
    chosen = _inlined(program, choices)
    values: dict[str, Compute] = {}
    kept: list[Statement] = []

    def swap(node: Expr) -> Expr | None:
        if isinstance(node, Load) and node.buffer in values:
            source = values[node.buffer]
            return substitute(source.value, {a.symbol: t for a, t in zip(source.axes, node.index, strict=True)})
        return None

    for s in program.statements:
        fresh = map_expressions(s, lambda e: rewrite(e, swap))
        if s.buffer in chosen and isinstance(fresh, Compute):
            values[s.buffer] = fresh
        else:
            kept.append(fresh)
    return pruned(program, kept)


def _inlined(program: Program, choices: Choices) -> set[str]:
    """Return the buffers to inline, which are decided from the results backwards.

    A value that only one loop nest needs is computed there. One that several need is stored or repeated, by the knob `store.<buffer>`.
    """
    definers: dict[str, int] = {}
    consumers: dict[str, list[Statement]] = {}
    searched: set[str] = set()
    for s in program.statements:
        definers[s.buffer] = definers.get(s.buffer, 0) + 1
        for name in reads(s):
            consumers.setdefault(name, []).append(s)
        for e in expressions(s):
            searched.update(n.buffer for n in walk(e) if isinstance(n, Search))
    chosen: set[str] = set()
    nests: dict[str, dict[int, tuple[Statement, int]]] = {}
    """The statements that compute each buffer if it is inlined, with the number of places at which they read it."""
    for s in reversed(program.statements):
        users = _users(s.buffer, consumers.get(s.buffer, []), chosen, nests)
        nests[s.buffer] = users
        if not isinstance(s, Compute) or definers[s.buffer] != 1 or s.buffer in searched:
            continue
        if program.buffers[s.buffer].role is not Role.INTERMEDIATE:
            continue
        own = cost(s.value)
        places = max((count for _, count in users.values()), default=1)
        plain = isinstance(s.value, Load) and all(isinstance(t, sympy.Basic) for t in s.value.index)
        if any(isinstance(c, LibraryCall) for c in consumers.get(s.buffer, [])):
            inlines = False
        elif any(isinstance(nest, Contract) for nest, _ in users.values()):
            inlines = plain and isinstance(s.value, Load) and affine(s.value)
        elif (
            plain
            or (own <= 3 and places <= _FEW)
            or not any(a.extent != 1 for a in s.axes)
            or (len(users) == 1 and places == 1 and not _revisits(s, next(iter(users.values()))[0]))
        ):
            inlines = True
        else:
            inlines = not choices.flag(f"store.{s.buffer}", own * places >= 8)
        if inlines:
            chosen.add(s.buffer)
    return chosen


def _users(
    buffer: str,
    consumers: list[Statement],
    chosen: set[str],
    nests: Mapping[str, Mapping[int, tuple[Statement, int]]],
) -> dict[int, tuple[Statement, int]]:
    """Return the loop nests that need a buffer, with the number of places at which each of them does.

    Places count because the steps of a recurrence that each read the one before at two places would double the work with every step.
    """
    users: dict[int, tuple[Statement, int]] = {}
    for c in consumers:
        keys: dict[int, Hashable] = {}
        found = {
            key(n, keys) for e in expressions(c) for n in walk(e) if isinstance(n, Load | Search) and n.buffer == buffer
        }
        for nest, count in nests[c.buffer].values() if c.buffer in chosen else [(c, 1)]:
            before = users.get(id(nest), (nest, 0))[1]
            users[id(nest)] = (nest, before + count * max(1, len(found)))
    return users


def _revisits(definition: Compute, consumer: Statement) -> bool:
    """Return whether the consumer reads each element more than once, because it loops over axes that the definition lacks."""
    if isinstance(consumer, LibraryCall):
        return True
    axes = [*consumer.axes, *(consumer.reduced if isinstance(consumer, Reduce) else ())]
    return len([a for a in axes if a.extent != 1]) > len([a for a in definition.axes if a.extent != 1])
