"""The form of a task's source, which is checked without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import AllowAten


def check_source(source: str, label: str) -> None:
    """Check that a source parses, and binds `Model` and `get_inputs` at module level.

    Args:
        source: The text of a task.
        label: The name of the text in messages.

    Raises:
        UserError: The check fails.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise UserError(f"{label}, line {error.lineno or 1}: syntax error: {error.msg}") from error
    except ValueError as error:  # null bytes, before Python 3.12
        raise UserError(f"{label} is not Python text: {error}") from error
    names = set(_bound_names(tree.body))
    if "*" in names:
        return
    if "Model" not in names:
        if "ModelNew" in names:
            raise UserError(f"{label} defines ModelNew but no Model: it is a kernel, not a task")
        raise UserError(f"{label} defines no class Model: a task needs Model and get_inputs (docs/tasks.md)")
    if "get_inputs" not in names:
        raise UserError(
            f"{label} defines no function get_inputs: add one that returns a list of inputs (docs/tasks.md)"
        )


def declared_rule(source: str, label: str) -> AllowAten:
    """Return the rule that `ALLOW_ATEN = "none"` at module level declares; `all` if nothing is declared.

    Args:
        source: The text of a task.
        label: The name of the text in messages.

    Raises:
        UserError: The value is not the text of a rule.
    """
    for statement in reversed(ast.parse(source).body):
        match statement:
            case ast.Assign(targets=[ast.Name(id="ALLOW_ATEN")], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id="ALLOW_ATEN"), value=ast.expr() as value):
                pass
            case _:
                continue
        if isinstance(value, ast.Constant) and value.value in list(AllowAten):
            return AllowAten(value.value)
        choices = ", ".join(f'"{rule}"' for rule in AllowAten)
        raise UserError(
            f"{label}, line {statement.lineno}: ALLOW_ATEN = {ast.unparse(value)} is not a rule: write one of {choices}"
        )
    return AllowAten.ALL


def summary_of(source: str) -> str:
    """Return the first line of the docstring of a task's module, or else of its class Model; "" if there is none."""
    module = ast.parse(source)
    models = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Model")
    docstrings = (ast.get_docstring(module), *(ast.get_docstring(model) for model in models))
    return next((text.splitlines()[0].strip() for text in docstrings if text), "")


def _bound_names(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements bind in their scope, including nested blocks; `*` for a star import."""
    for statement in body:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                yield name
            case _:
                for field in ("body", "orelse", "finalbody"):
                    if not isinstance(statement, ast.AsyncFunctionDef):
                        yield from _bound_names(getattr(statement, field, []))
                for handler in getattr(statement, "handlers", []):
                    yield from _bound_names(handler.body)
