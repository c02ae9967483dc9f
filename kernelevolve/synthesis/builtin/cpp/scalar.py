"""Scalar expressions as C++ text. Shared values become temporaries in the outermost loop where they can be computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import sympy

from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.traced.expr import (
    FLOATS,
    Const,
    Expr,
    IndexValue,
    Load,
    Op,
    Search,
    children,
    key,
)
from kernelevolve.synthesis.traced.numbers import bfloat16_bits, rounded

CTYPE = {
    "float32": "float",
    "float64": "double",
    "float16": "_Float16",
    "bfloat16": "uint16_t",
    "int64": "int64_t",
    "int32": "int32_t",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "bool",
}
"""The C++ type that values of a dtype are computed with."""

STORED = {**CTYPE, "bool": "uint8_t"}
"""The C++ type of elements in memory. Compilers vectorise loads of bytes, but not of bool."""


_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_INFIX |= {"eq": "==", "ne": "!=", "and": "&", "or": "|", "xor": "^"}
_ON_BOOL = {"add": "or", "mul": "and", "max": "or", "min": "and", "bitnot": "not"}
"""The logical operation that arithmetic on bool is."""
NARROW = ("uint8", "int8", "int16")
"""The dtypes that C++ computes with as int, so that results have to be cast back."""
_LIBM = frozenset(
    [
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "asinh",
        "acosh",
        "atanh",
        "erf",
        "erfc",
        "pow",
        "atan2",
        "hypot",
    ]
)
_INSTRUCTIONS = frozenset(["sqrt", "floor", "ceil", "trunc", "round", "fmod", "abs"])
"""The operations that have compiler builtins, which need neither libm nor its headers."""


@lru_cache(maxsize=1 << 16)
def index_text(expr: sympy.Expr) -> str:
    """Return an integer expression in C++. Its division rounds towards zero, whereas floor and Mod of sympy round down.

    Raises:
        ValueError: The expression has an unsupported form.
    """
    if isinstance(expr, sympy.Integer):
        return str(int(expr))
    if isinstance(expr, sympy.Symbol):
        return str(expr.name)
    if isinstance(expr, sympy.Add):
        return "(" + " + ".join(index_text(a) for a in expr.args) + ")"
    if isinstance(expr, sympy.Mul):
        return "(" + " * ".join(index_text(a) for a in expr.args) + ")"
    if isinstance(expr, sympy.Pow) and isinstance(expr.exp, sympy.Integer) and expr.exp > 0:
        return "(" + " * ".join([index_text(expr.base)] * int(expr.exp)) + ")"
    if isinstance(expr, sympy.floor):
        numerator, denominator = sympy.fraction(sympy.together(expr.args[0]))
        top, bottom = index_text(numerator), index_text(denominator)
        if numerator.is_nonnegative and denominator.is_positive is not False:
            return f"({top} / {bottom})"
        return f"(({top} - ({top} % {bottom} + {bottom}) % {bottom}) / {bottom})"
    if isinstance(expr, sympy.Mod):
        top, bottom = (index_text(a) for a in expr.args)
        if expr.args[0].is_nonnegative:
            return f"({top} % {bottom})"
        return f"(({top} % {bottom} + {bottom}) % {bottom})"
    raise ValueError(f"no C++ for the size {expr}")


@dataclass
class Scalars:
    """Prints the expressions of a statement inside a loop nest."""

    choices: Choices
    used: set[str]
    """Receives the names of the prelude functions that the text needs."""
    levels: Sequence[sympy.Symbol]
    """The symbols of the loops, outermost first."""
    address: Callable[[Load, Callable[[Expr], str]], str]
    """Returns the text of an element."""
    search_base: Callable[[Search, Callable[[Expr], str]], str]
    """Returns the text of the start of a sorted row."""
    declare: Callable[[int, str], None]
    """Receives a level and a line that belongs before loop `level` + 1."""
    names: Callable[[], str]
    """Returns a new name."""
    _keys: dict[int, Hashable] = field(default_factory=dict)
    _done: dict[Hashable, str] = field(default_factory=dict)
    _level: dict[int, int] = field(default_factory=dict)
    _keep: list[Expr] = field(default_factory=list)

    def text(self, root: Expr, keep_level: int) -> str:
        """Return an expression as text for use inside loop `keep_level`, an index into `levels`."""
        self._keep.append(root)
        counts: dict[Hashable, int] = {}
        free: dict[Hashable, Expr] = {}

        def count(node: Expr) -> None:
            k = self._key(node)
            counts[k] = counts.get(k, 0) + 1
            if counts[k] > 1:
                return
            free[k] = node
            if isinstance(node, Op) and node.name == "guard":
                count(node.args[0])
                return
            for child in children(node):
                count(child)

        count(root)
        unconditional = set(free)
        # Both branches of a where may be evaluated. Hoisting loads out of them avoids masked accesses.
        chosen = {
            self._key(arm)
            for node in free.values()
            if isinstance(node, Op) and node.name == "where"
            for arm in node.args
            if not isinstance(arm, Const | IndexValue)
        }

        def show(node: Expr) -> str:
            k = self._key(node)
            if k in self._done:
                return self._done[k]
            body = self._node(node, show)
            if isinstance(node, Const | IndexValue) or k not in unconditional:
                return body
            level = min(self._depth(node), keep_level)
            shared = counts.get(k, 0) > 1 or k in chosen
            if level < keep_level or (shared and node is not root):
                name = self.names()
                self.declare(level, f"const {CTYPE[self._held(node.dtype)]} {name} = {body};")
                self._done[k] = name
                return name
            return body

        return show(root)

    def _held(self, dtype: str) -> str:
        return "float32" if dtype in ("float16", "bfloat16") else dtype

    def _key(self, node: Expr) -> Hashable:
        return key(node, self._keys)

    def _depth(self, node: Expr) -> int:
        if id(node) not in self._level:
            symbols = _symbols(node)
            depths = [i for i, s in enumerate(self.levels) if s in symbols]
            own = max(depths, default=-1)
            self._level[id(node)] = max([own, *(self._depth(c) for c in children(node))])
        return self._level[id(node)]

    def _node(self, node: Expr, show: Callable[[Expr], str]) -> str:
        match node:
            case Const(value, dtype):
                return literal(value, dtype)
            case IndexValue(index):
                return f"(int64_t){index_text(index)}"
            case Load(dtype=dtype):
                return loaded(self.address(node, show), dtype, self.used)
            case Search(value=value, right=right, length=length):
                base = self.search_base(node, show)
                how = search_method(self.choices, node)
                self.used.add("ke_count" if how == "count" else "ke_lower")
                name = {("count", False): "ke_count_lt", ("count", True): "ke_count_le"}.get(
                    (how, right), "ke_upper" if right else "ke_lower"
                )
                found = show(value)
                return f"{name}({base}, {index_text(length)}, {found})"
            case Op(name, args, dtype):
                return self._op(name, args, dtype, show)

    def _op(self, name: str, args: tuple[Expr, ...], dtype: str, show: Callable[[Expr], str]) -> str:
        a = [show(x) for x in args]
        if name == "cast":
            return self._cast(a[0], args[0].dtype, dtype)
        if dtype == "bool" and name in _ON_BOOL:
            name = _ON_BOOL[name]
        source = self._held(args[0].dtype)
        ctype = CTYPE[self._held(dtype)]
        if name in _INFIX:
            text = f"({a[0]} {_INFIX[name]} {a[1]})"
            return f"({ctype}){text}" if dtype in NARROW else text
        if name in ("where", "guard"):
            return f"({a[0]} ? {a[1]} : {a[2]})"
        simple = {
            "neg": f"({ctype})(-{a[0]})",
            "not": f"(!{a[0]})",
            "bitnot": f"({ctype})(~{a[0]})",
            "reciprocal": f"(({ctype})1 / {a[0]})",
            "rsqrt": f"(({ctype})1 / {_builtin('sqrt', source)}({a[0]}))",
            "abs": f"{_builtin('abs', source)}({a[0]})"
            if source in FLOATS
            else f"({ctype})({a[0]} < 0 ? -{a[0]} : {a[0]})",
            "isnan": f"({a[0]} != {a[0]})",
            "isinf": f"({_builtin('abs', source)}({a[0]}) == {literal(math.inf, source)})"
            if source in FLOATS
            else "false",
        }
        if name in simple:
            return simple[name]
        if name == "signbit":
            self.used.add("ke_signbit")
            return f"ke_signbit({a[0]})"
        if name in ("max", "min"):
            return self._extreme(name, args, a, ctype)
        if name in ("shl", "shr", "floordiv", "truncdiv", "mod"):
            function = "ke_floordiv_float" if dtype in FLOATS and name == "floordiv" else f"ke_{name}"
            return self._call(function, ctype, a)
        if name in ("fmod", "pow") and dtype not in FLOATS:
            return self._call(f"ke_{name}", ctype, a)
        if name == "fma":
            self.used.add("ke_fma")
            return f"ke_fma({', '.join(a)})"
        if name == "sign":
            return self._call("ke_sign", ctype, a)
        if name == "sigmoid":
            if source == "float32" and self._fast("exp"):
                self.used.add("ke_sigmoid")
                return f"ke_sigmoid({a[0]})"
            return f"(({ctype})1 / (({ctype})1 + std::exp(-{a[0]})))"
        if source == "float32" and name in ("exp", "log", "log1p", "tanh", "erf") and self._fast(name):
            self.used.add(f"ke_{name}")
            return f"ke_{name}({a[0]})"
        if name in _INSTRUCTIONS:
            return f"{_builtin(name, source)}({', '.join(a)})"
        if name in _LIBM:
            return f"std::{name}({', '.join(a)})"
        raise ValueError(f"no C++ for the operation {name}")

    def _call(self, function: str, ctype: str, a: list[str]) -> str:
        self.used.add(function)
        return f"{function}<{ctype}>({', '.join(a)})"

    def _cast(self, value: str, source: str, dtype: str) -> str:
        """Return a cast. Half precision is held as float, so that a cast to it rounds only."""
        if dtype == "bool":
            return f"({value} != 0)"
        if dtype == "float16":
            return f"(float)(_Float16)(float)({value})"
        if dtype == "bfloat16":
            self.used.add("ke_bf16")
            return f"ke_from_bf16(ke_to_bf16((float)({value})))"
        ctype = CTYPE[dtype]
        if source in FLOATS and dtype in NARROW:
            return f"({ctype})({'int64_t' if dtype == 'uint8' else 'int32_t'})({value})"
        return f"({ctype})({value})"

    def _extreme(self, name: str, args: tuple[Expr, ...], a: list[str], ctype: str) -> str:
        limit = args[1]
        if isinstance(limit, Const) and limit.value == limit.value:
            function = "ke_at_least" if name == "max" else "ke_at_most"
        else:
            function = f"ke_{name}"
        self.used.add(function)
        return f"{function}<{ctype}>({a[0]}, {a[1]})"

    def _fast(self, name: str) -> bool:
        return self.choices.word(f"math.{name}", "polynomial", "libm") == "polynomial"


def search_method(choices: Choices, search: Search) -> str:
    """Return the method of a search: `count` smaller elements, `binary` search, or `batched` binary searches."""
    if _short(search.length):
        return choices.word("search.short", "count", "binary", "batched")
    return choices.word("search.long", "batched", "binary")


def _short(length: sympy.Expr) -> bool:
    return isinstance(length, sympy.Integer) and length <= 64


def _symbols(node: Expr) -> set[sympy.Symbol]:
    match node:
        case IndexValue(index):
            return set(index.free_symbols)
        case Load(index=terms):
            return {s for t in terms if isinstance(t, sympy.Basic) for s in t.free_symbols}
        case Search(row=terms):
            return {s for t in terms if isinstance(t, sympy.Basic) for s in t.free_symbols}
        case _:
            return set()


def _builtin(name: str, dtype: str) -> str:
    """Return the name of a compiler builtin for values that are held in a dtype."""
    name = {"abs": "fabs", "round": "rint"}.get(name, name)
    return f"__builtin_{name}{'f' if dtype == 'float32' else ''}"


def literal(value: float | int | bool, dtype: str) -> str:
    """Return a number as a C++ literal of the type that a dtype is computed with."""
    if dtype == "bool":
        return "true" if value else "false"
    if dtype not in FLOATS:
        if value == -(2**63):
            return "INT64_MIN"
        return f"(({CTYPE[dtype]}){int(value)}LL)" if dtype in ("int64", "int32") else f"(({CTYPE[dtype]}){int(value)})"
    ctype = "double" if dtype == "float64" else "float"
    value = rounded(float(value), dtype)
    if math.isinf(value):
        return f"({'-' if value < 0 else ''}__builtin_inf{'f' if ctype == 'float' else ''}())"
    if math.isnan(value):
        return f'__builtin_nan{"f" if ctype == "float" else ""}("")'
    text = repr(value)
    return text if ctype == "double" else f"{text}f"


def element_literal(value: float | int | bool, dtype: str) -> str:
    """Return a number as a C++ literal of an element in memory."""
    if dtype == "bfloat16":
        return str(bfloat16_bits(rounded(float(value), "float32")))
    return f"(_Float16){literal(value, dtype)}" if dtype == "float16" else literal(value, dtype)


def loaded(element: str, dtype: str, used: set[str]) -> str:
    """Return the text that converts an element in memory to a value to compute with."""
    if dtype == "bfloat16":
        used.add("ke_bf16")
        return f"ke_from_bf16({element})"
    if dtype == "bool":
        return f"({element} != 0)"
    return f"(float){element}" if dtype == "float16" else element


def stored(value: str, dtype: str, used: set[str]) -> str:
    """Return the text that converts a computed value to an element in memory."""
    if dtype == "bfloat16":
        used.add("ke_bf16")
        return f"ke_to_bf16({value})"
    if dtype == "bool":
        return f"(uint8_t)({value})"
    return f"(_Float16)({value})" if dtype == "float16" else value
