"""Conversion of TorchInductor's wrapper to C++ functions and Python statements that need only torch."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from kernelevolve.synthesis.builtin.inductor.lowering import Kind, Lowered
from kernelevolve.synthesis.traced.builder import UnsupportedError

_CTYPES = {"int64_t": "c_int64", "int32_t": "c_int32", "double": "c_double", "float": "c_float", "bool": "c_bool"}
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*(.*)$", re.MULTILINE)
_PREFIX = "<torch/csrc/inductor/cpp_prefix.h>"
_ENTRY = re.compile(r'extern\s+"C"\s+(?:__attribute__\S*\s+)?void\s+kernel\s*\(')
_OPERATORS = frozenset({"aten", "mkldnn"})
"""The operator namespaces that torch registers itself."""
_NAMES = frozenset(
    {"torch", "math", "max", "min", "int", "float", "bool", "RuntimeError", "_expect", "_view", "_LIBRARY"}
)
"""The names that statements may use besides arguments and their own results."""
_WRAPPER_ONLY = frozenset({"assert_alignment"})
"""The functions whose calls have no effect outside the wrapper."""


@dataclass(frozen=True)
class CppFunction:
    """A C++ function of TorchInductor."""

    name: str
    text: str
    argtypes: tuple[str, ...]
    """The names of the types of its arguments in `ctypes`."""


@dataclass(frozen=True)
class Graph:
    """A lowered graph as the parts of a kernel file."""

    functions: tuple[CppFunction, ...]
    statements: tuple[str, ...]
    """The Python statements that compute the results from the arguments of the graph, some of several lines."""
    results: tuple[str, ...]
    """The results as Python expressions."""


def take_apart(lowered: Lowered, prefix: str) -> Graph:
    """Split the code of a lowered graph into its parts.

    Args:
        lowered: The code of TorchInductor.
        prefix: The prefix of the names of the C++ functions.

    Raises:
        UnsupportedError: The wrapper has an unknown form or needs more than torch.
    """
    tree = ast.parse(lowered.code)
    functions = _functions(tree, prefix)
    call = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "call"), None)
    if call is None:
        raise UnsupportedError("a wrapper without a function `call`")
    inputs = [a.name for a in lowered.arguments if a.kind is Kind.INPUT]
    rewrite = _Rewrite(functions, frozenset(inputs))
    statements: list[str] = []
    results: tuple[str, ...] | None = None
    known = {a.name for a in lowered.arguments}
    for statement in call.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.value) == "args":
            _check_order(statement.targets[0], [a.name for a in lowered.arguments])
            continue
        if ast.unparse(statement) == "args.clear()" or rewrite.is_dropped(statement):
            continue
        rewritten = ast.fix_missing_locations(rewrite.visit(statement))
        known |= _check_names(rewritten, known)
        if isinstance(rewritten, ast.Return):
            if not isinstance(rewritten.value, ast.Tuple):
                raise UnsupportedError("a wrapper that does not return a tuple")
            results = tuple(ast.unparse(e) for e in rewritten.value.elts)
            break
        if not isinstance(rewritten, ast.Assign | ast.Expr | ast.Delete) and not _raises(rewritten):
            raise UnsupportedError(f"a wrapper with {type(rewritten).__name__.lower()} statements")
        statements.append(ast.unparse(rewritten))
    if results is None:
        raise UnsupportedError("a wrapper that returns nothing")
    return Graph(tuple(functions.values()), tuple(statements), results)


def _raises(statement: ast.AST) -> bool:
    """Return whether a statement is a check of data-dependent sizes."""
    return isinstance(statement, ast.If) and all(isinstance(s, ast.Raise) for s in [*statement.body, *statement.orelse])


def _functions(tree: ast.Module, prefix: str) -> dict[str, CppFunction]:
    """Return the C++ functions by the names that the wrapper calls them by."""
    found: dict[str, CppFunction] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        callee = ast.unparse(node.value.func)
        if not callee.startswith("async_compile."):
            continue
        if callee != "async_compile.cpp_pybinding" or len(node.value.args) != 2:
            raise UnsupportedError(f"a wrapper with kernels from {callee}")
        types, text = (ast.literal_eval(a) for a in node.value.args)
        name = ast.unparse(node.targets[0])
        found[name] = CppFunction(prefix + name, _body(text, prefix + name), tuple(_ctype(t) for t in types))
    return found


def _body(text: str, name: str) -> str:
    foreign = [header for header in _INCLUDE.findall(text) if header.strip() != _PREFIX]
    if foreign:
        raise UnsupportedError(f"C++ that includes {foreign[0].strip()}")
    if len(_ENTRY.findall(text)) != 1:
        raise UnsupportedError("C++ without the one function `kernel`")
    return _ENTRY.sub(f'extern "C" void {name}(', _INCLUDE.sub("", text)).strip("\n") + "\n"


def _ctype(spelled: str) -> str:
    if spelled.rstrip().endswith("*"):
        return "c_void_p"
    plain = spelled.replace("const", "").strip()
    if plain not in _CTYPES:
        raise UnsupportedError(f"C++ with an argument of type {spelled}")
    return _CTYPES[plain]


def _check_order(target: ast.expr, arguments: Sequence[str]) -> None:
    names = [ast.unparse(e) for e in target.elts] if isinstance(target, ast.Tuple | ast.List) else []
    if names != list(arguments):
        raise UnsupportedError(f"a wrapper with the arguments {names}, not {list(arguments)}")


def _check_names(statement: ast.AST, known: set[str]) -> set[str]:
    """Check that the names that a statement reads are known, and return those that it binds."""
    names = [n for n in ast.walk(statement) if isinstance(n, ast.Name)]
    unknown = [n.id for n in names if isinstance(n.ctx, ast.Load) and n.id not in known and n.id not in _NAMES]
    if unknown:
        raise UnsupportedError(f"a wrapper that uses {unknown[0]}")
    for n in ast.walk(statement):
        text = ast.unparse(n) if isinstance(n, ast.Attribute) else ""
        if text.startswith("torch.ops.") and text.count(".") == 2 and text.split(".")[2] not in _OPERATORS:
            raise UnsupportedError(f"a wrapper that uses {text}")
        if text.startswith("torch._"):
            raise UnsupportedError(f"a wrapper that uses {text}")
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}


class _Rewrite(ast.NodeTransformer):
    """Replaces calls of TorchInductor's helpers by public functions of torch."""

    def __init__(self, functions: Mapping[str, CppFunction], inputs: frozenset[str]) -> None:
        self.functions = functions
        self.inputs = inputs

    def is_dropped(self, statement: ast.stmt) -> bool:
        """Return whether a statement is not needed: a check of inputs, done earlier, or a call without effect."""
        if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
            return False
        callee = ast.unparse(statement.value.func)
        if callee in _WRAPPER_ONLY:
            return True
        return callee == "assert_size_stride" and ast.unparse(statement.value.args[0]) in self.inputs

    def visit_Name(self, node: ast.Name) -> ast.expr:
        replaced = {"aten": "torch.ops.aten", "device": "torch.device", "inf": "math.inf", "nan": "math.nan"}
        if isinstance(node.ctx, ast.Load) and node.id in replaced:
            return _expression(replaced[node.id])
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        callee = ast.unparse(node.func)
        if callee in self.functions:
            function = self.functions[callee]
            if len(function.argtypes) != len(node.args):
                raise UnsupportedError("a wrapper that calls C++ with another number of arguments")
            arguments = [
                ast.Call(func=ast.Attribute(value=a, attr="data_ptr", ctx=ast.Load()), args=[], keywords=[])
                if t == "c_void_p"
                else a
                for a, t in zip(node.args, function.argtypes, strict=True)
            ]
            return ast.Call(func=_expression(f"_LIBRARY.{function.name}"), args=arguments, keywords=[])
        if callee == "assert_size_stride":
            return ast.Call(func=_expression("_expect"), args=node.args[:3], keywords=[])
        if callee == "empty_strided_cpu":
            size, stride, dtype = node.args
            return ast.Call(
                func=_expression("torch.empty_strided"),
                args=[size, stride],
                keywords=[ast.keyword(arg="dtype", value=dtype)],
            )
        if callee == "reinterpret_tensor":
            return ast.Call(func=_expression("_view"), args=node.args, keywords=node.keywords)
        if callee.startswith("extern_kernels."):
            name = callee.removeprefix("extern_kernels.")
            if name.startswith("_") or not hasattr(torch, name):
                raise UnsupportedError(f"a wrapper that uses {callee}")
            return ast.Call(func=_expression(f"torch.{name}"), args=node.args, keywords=node.keywords)
        return node


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
