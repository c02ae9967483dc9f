"""Scalar expressions of the traced form: the value at one index tuple.

Expressions form a DAG and are compared by identity, so that building them is cheap; `key` gives the structural
identity. An index term is a sympy expression of axis symbols and sizes, or an expression of dtype int64 if it depends
on loaded values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import sympy

Size: TypeAlias = sympy.Expr
"""A dimension: an integer or a sympy expression of the symbols that stand for sizes of the inputs."""

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")


@dataclass(frozen=True, eq=False, slots=True)
class Const:
    """A literal."""

    value: float | int | bool
    dtype: str


@dataclass(frozen=True, eq=False, slots=True)
class IndexValue:
    """An index term or a size as a number of dtype int64."""

    index: sympy.Expr
    dtype: str = "int64"


@dataclass(frozen=True, eq=False, slots=True)
class Load:
    """An element of a buffer, with one index term per dimension of the buffer."""

    buffer: str
    index: tuple[IndexTerm, ...]
    dtype: str


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """An arithmetic operation, one of `OPS`. `guard` is `where` that evaluates the chosen branch only."""

    name: str
    args: tuple[Expr, ...]
    dtype: str


@dataclass(frozen=True, eq=False, slots=True)
class Search:
    """The position of `value` in the sorted last dimension of a buffer.

    It is the number of elements < value, or <= value if `right`. It is the length of the dimension if value is NaN.
    """

    buffer: str
    row: tuple[IndexTerm, ...]
    """The index terms of all dimensions but the last."""
    length: Size
    value: Expr
    right: bool
    dtype: str = "int64"


Expr: TypeAlias = Const | IndexValue | Load | Op | Search
IndexTerm: TypeAlias = sympy.Expr | Const | IndexValue | Load | Op | Search

OPS = {
    # name: number of arguments
    **dict.fromkeys(("add", "sub", "mul", "div", "floordiv", "mod", "pow", "atan2", "hypot", "fmod", "min", "max"), 2),
    **dict.fromkeys(("truncdiv", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "shl", "shr"), 2),
    **dict.fromkeys(("neg", "abs", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt"), 1),
    **dict.fromkeys(("reciprocal", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"), 1),
    **dict.fromkeys(("asinh", "acosh", "atanh", "erf", "erfc", "sigmoid", "floor", "ceil", "trunc", "round"), 1),
    **dict.fromkeys(("sign", "not", "bitnot", "isnan", "isinf", "signbit", "cast"), 1),
    **dict.fromkeys(("where", "guard", "fma"), 3),
}
"""The operations and their numbers of arguments. They compute what PyTorch computes on a CPU.

Floating-point operations round to their dtype, and min and max propagate NaN. Integers wrap around, floordiv and mod
round down, and a shift by the width or more shifts all bits out.
"""


def divides_axes(term: sympy.Expr) -> bool:
    """Return whether an index term rounds a value that depends on axes. Rounded sizes do not count."""
    return any(not s.is_positive for part in term.atoms(sympy.floor, sympy.Mod) for s in part.free_symbols)


def as_expr(term: IndexTerm) -> Expr:
    """Return an index term as an expression of dtype int64."""
    return IndexValue(term) if isinstance(term, sympy.Basic) else term


def as_index(expr: Expr) -> IndexTerm:
    """Return an expression as a sympy index term if it loads nothing and has a simple form; else the expression."""
    match expr:
        case IndexValue(index):
            return index
        case Const(value, "int64"):
            return sympy.Integer(int(value))
        case Op("cast", (inner,), "int64") if inner.dtype == "int64":
            return as_index(inner)
        case Op(name, (a, b), "int64") if name in ("add", "sub", "mul", "floordiv", "mod"):
            left, right = as_index(a), as_index(b)
            if isinstance(left, sympy.Basic) and isinstance(right, sympy.Basic):
                return _joined(name, left, right, expr)
    return expr


def _joined(name: str, left: sympy.Expr, right: sympy.Expr, expr: Expr) -> IndexTerm:
    match name:
        case "add":
            return left + right
        case "sub":
            return left - right
        case "mul":
            return left * right
    if not right.is_positive:
        return expr
    return sympy.floor(left / right) if name == "floordiv" else sympy.Mod(left, right)


def index_add(a: IndexTerm, b: IndexTerm) -> IndexTerm:
    """Return the sum of two index terms."""
    if isinstance(a, sympy.Basic) and isinstance(b, sympy.Basic):
        return a + b
    if b == 0:
        return a
    if a == 0:
        return b
    return Op("add", (as_expr(a), as_expr(b)), "int64")


def index_mul(a: IndexTerm, b: IndexTerm) -> IndexTerm:
    """Return the product of two index terms."""
    if isinstance(a, sympy.Basic) and isinstance(b, sympy.Basic):
        return a * b
    if b == 1:
        return a
    if a == 1:
        return b
    return Op("mul", (as_expr(a), as_expr(b)), "int64")


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct subexpressions, including those in index terms."""
    match expr:
        case Op(args=args):
            return args
        case Load(index=index):
            return tuple(t for t in index if not isinstance(t, sympy.Basic))
        case Search(row=row, value=value):
            return (*(t for t in row if not isinstance(t, sympy.Basic)), value)
        case _:
            return ()


def walk(expr: Expr) -> list[Expr]:
    """Return every distinct subexpression once, arguments first."""
    seen: set[int] = set()
    order: list[Expr] = []

    def visit(node: Expr) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        for child in children(node):
            visit(child)
        order.append(node)

    visit(expr)
    return order


def buffers_read(expr: Expr) -> list[str]:
    """Return the names of the buffers that an expression reads, each once, in order."""
    names = [node.buffer for node in walk(expr) if isinstance(node, Load | Search)]
    return list(dict.fromkeys(names))


def rewrite(expr: Expr, leaf: Callable[[Expr], Expr | None]) -> Expr:
    """Rewrite an expression from its leaves up.

    Args:
        expr: The expression.
        leaf: Called with each node whose arguments were rewritten. Returns the replacement, or None to keep it.
    """
    memo: dict[int, Expr] = {}

    def visit(node: Expr) -> Expr:
        if id(node) not in memo:
            match node:
                case Op(name, args, dtype):
                    fresh = tuple(visit(a) for a in args)
                    kept: Expr = (
                        node if all(a is b for a, b in zip(fresh, args, strict=True)) else Op(name, fresh, dtype)
                    )
                case Load(buffer, index, dtype):
                    terms = tuple(t if isinstance(t, sympy.Basic) else visit(t) for t in index)
                    kept = (
                        node if all(a is b for a, b in zip(terms, index, strict=True)) else Load(buffer, terms, dtype)
                    )
                case Search(buffer, row, length, value, right):
                    terms = tuple(t if isinstance(t, sympy.Basic) else visit(t) for t in row)
                    kept = Search(buffer, terms, length, visit(value), right)
                case _:
                    kept = node
            changed = leaf(kept)
            memo[id(node)] = kept if changed is None else changed
        return memo[id(node)]

    return visit(expr)


def substitute(expr: Expr, mapping: Mapping[sympy.Symbol, IndexTerm]) -> Expr:
    """Replace symbols by index terms, which may depend on loaded values."""
    if all(isinstance(term, sympy.Basic) for term in mapping.values()):
        plain = dict(mapping)

        def swap(node: Expr) -> Expr | None:
            match node:
                case IndexValue(index):
                    return IndexValue(index.xreplace(plain))
                case Load(buffer, index, dtype):
                    return Load(buffer, tuple(_subs(t, plain) for t in index), dtype)
                case Search(buffer, row, length, value, right):
                    return Search(buffer, tuple(_subs(t, plain) for t in row), length, value, right)
                case _:
                    return None

        return rewrite(expr, swap)

    def swap_indirect(node: Expr) -> Expr | None:
        match node:
            case IndexValue(index):
                return as_expr(substitute_index(index, mapping))
            case Load(buffer, index, dtype):
                return Load(buffer, tuple(substitute_index(t, mapping) for t in index), dtype)
            case Search(buffer, row, length, value, right):
                return Search(buffer, tuple(substitute_index(t, mapping) for t in row), length, value, right)
            case _:
                return None

    return rewrite(expr, swap_indirect)


def _subs(term: IndexTerm, plain: Mapping[sympy.Symbol, IndexTerm]) -> IndexTerm:
    return term.xreplace(plain) if isinstance(term, sympy.Basic) else term


def substitute_index(term: IndexTerm, mapping: Mapping[sympy.Symbol, IndexTerm]) -> IndexTerm:
    """Replace symbols in an index term.

    Raises:
        ValueError: A loaded value would stand elsewhere than in a sum, a product, a floor or a modulus.
    """
    if not isinstance(term, sympy.Basic):
        return term
    hit = {s: mapping[s] for s in term.free_symbols if s in mapping}
    if all(isinstance(t, sympy.Basic) for t in hit.values()):
        return term.xreplace(hit)
    return _expand(sympy.expand(term), hit)


def _expand(term: sympy.Expr, mapping: Mapping[sympy.Symbol, IndexTerm]) -> IndexTerm:
    if isinstance(term, sympy.Symbol):
        return mapping.get(term, term)
    if isinstance(term, sympy.Add | sympy.Mul):
        join = index_add if isinstance(term, sympy.Add) else index_mul
        result, *rest = (_expand(a, mapping) for a in term.args)
        for part in rest:
            result = join(result, part)
        return result
    if not term.free_symbols & set(mapping):
        return term
    if isinstance(term, sympy.floor):
        numerator, denominator = sympy.fraction(term.args[0])
        return Op("floordiv", (as_expr(_expand(numerator, mapping)), IndexValue(denominator)), "int64")
    if isinstance(term, sympy.Mod):
        value, base = term.args
        return Op("mod", (as_expr(_expand(value, mapping)), IndexValue(base)), "int64")
    raise ValueError(f"cannot put a loaded value into {term}")


def key(expr: Expr, memo: dict[int, Hashable]) -> Hashable:
    """Return the structural identity of an expression. Expressions with equal keys have equal values.

    Args:
        expr: The expression.
        memo: The keys by the id of their node. It keeps the time linear in the size of the DAG.
    """
    if id(expr) not in memo:
        match expr:
            case Const(value, dtype):
                memo[id(expr)] = ("const", repr(value), dtype)
            case IndexValue(index):
                memo[id(expr)] = ("index", index)
            case Load(buffer, index, _):
                memo[id(expr)] = ("load", buffer, *(t if isinstance(t, sympy.Basic) else key(t, memo) for t in index))
            case Search(buffer, row, _, value, right):
                terms = (t if isinstance(t, sympy.Basic) else key(t, memo) for t in row)
                memo[id(expr)] = ("search", buffer, right, key(value, memo), *terms)
            case Op(name, args, dtype):
                memo[id(expr)] = (name, dtype, *(key(a, memo) for a in args))
    return memo[id(expr)]
