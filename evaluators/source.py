"""What can be told of a kernel without running anything."""

from __future__ import annotations

import ast

from evaluators.verdict import Failure
from kernelevolve.core.evaluation import Status

_LONGEST_SOURCE = 1 << 20


def check_source(source: str) -> Failure | None:
    """None where the file may be a kernel."""
    if not source.strip():
        return Failure(Status.INVALID_SOURCE, "source", "the file is empty")
    if len(source) > _LONGEST_SOURCE:
        return Failure(Status.INVALID_SOURCE, "source", f"the file is longer than {_LONGEST_SOURCE} characters")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        return Failure(Status.INVALID_SOURCE, "source", f"no valid Python{f', line {line}' if line else ''}: {error}")
    bound = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.name]
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
            else [t.id for t in node.targets if isinstance(t, ast.Name)]
            if isinstance(node, ast.Assign)
            else [a.asname or a.name for a in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    if "ModelNew" not in bound:
        return Failure(Status.INVALID_SOURCE, "source", "the file defines no class ModelNew")
    return None
