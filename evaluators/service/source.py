"""Checks of a kernel's source that run nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from devices.toolchains.parsing import parsed
from evaluators.verdict import Failure
from kernelevolve.core.evaluation import Status

_LONGEST_SOURCE = 4 << 20
"""The most characters of a file. Seeds of whole networks have more than a million; parsing a million takes about a second."""


def check_source(source: str) -> Failure | None:
    """Return the failure of a file that cannot be a kernel, or None."""
    if not source.strip():
        return Failure(Status.INVALID_SOURCE, "source", "the file is empty")
    if len(source) > _LONGEST_SOURCE:
        return Failure(Status.INVALID_SOURCE, "source", f"the file is longer than {_LONGEST_SOURCE} characters")
    try:
        tree = parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        return Failure(Status.INVALID_SOURCE, "source", f"no valid Python{f', line {line}' if line else ''}: {error}")
    if not any("ModelNew" in _bound(statement) for statement in _statements(tree)):
        return Failure(Status.INVALID_SOURCE, "source", "the file defines no class ModelNew")
    return None


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all statements, nested ones included. Expressions, which are most of a tree, are not visited."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, part, ())
            left.extend(inner if isinstance(inner, list) else ())


def _bound(node: ast.AST) -> list[str]:
    """Return the names that a statement binds to something that may be a class."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    return []
