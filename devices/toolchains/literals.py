"""Reading of the literals of a C++ kernel file without running the file."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from devices.toolchains.parsing import nodes, parsed


class LiteralError(ValueError):
    """The kernel file lacks a valid literal."""


def read_literals(text: str) -> tuple[str, list[str]]:
    """Return `CPP_SOURCE` and `CPP_FLAGS` of a kernel file. Raises LiteralError if the file has no such literals."""
    try:
        tree = parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise LiteralError(f"the kernel file is no valid Python: {error}") from error
    names = [node for node in nodes(tree) if isinstance(node, ast.Name)]
    source = _value(_assigned(tree, names, "CPP_SOURCE"), "CPP_SOURCE")
    flags = _value(_assigned(tree, names, "CPP_FLAGS"), "CPP_FLAGS")
    if not isinstance(source, str):
        raise LiteralError("CPP_SOURCE must be a string literal")
    if not isinstance(flags, list) or not all(isinstance(flag, str) for flag in flags):
        raise LiteralError("CPP_FLAGS must be a list of string literals")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in source + "".join(flags)):
        raise LiteralError("CPP_SOURCE or CPP_FLAGS hold a character that no file or command can hold")
    return source, flags


def _assigned(tree: ast.Module, names: Iterable[ast.Name], name: str) -> ast.expr:
    """Return the expression that a module assigns to a name at its top level. `names` are all names that occur in the module."""
    if sum(node.id == name and not isinstance(node.ctx, ast.Load) for node in names) > 1:
        raise LiteralError(f"{name} must be assigned exactly once")
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and targets[0].id == name:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if value is not None:
                return value
    raise LiteralError(f"{name} is missing: the kernel file must assign it a literal at module level")


def _value(node: ast.expr, name: str) -> object:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = _value(left, name), _value(right, name)
            if isinstance(first, str) and isinstance(second, str):
                return first + second
            if isinstance(first, list) and isinstance(second, list):
                return first + second
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(element, name) for element in elements]
    raise LiteralError(f"{name} must be a literal (line {node.lineno} is computed)")
