"""Finding tasks by name or path, and checking their form without running them. Does not import torch."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from kernelevolve.core.task import AllowAten, Task

SUITES = Path(__file__).parent / "suites"
"""The shipped tasks, `<suite>/<task>.py`. They are package data that is read, never imported."""


class TaskSummary(Record):
    """One line of `kernelevolve tasks list`."""

    name: str
    """The name: `<suite>/<task>`."""
    summary: str
    """The first line of the file's docstring; empty if it has none."""


def list_tasks() -> tuple[TaskSummary, ...]:
    """Return the shipped tasks, sorted by name."""
    return tuple(
        TaskSummary(name=name, summary=summary_of(path.read_text(encoding="utf-8")))
        for name, path in sorted(_shipped().items())
    )


def find_task(name_or_path: str) -> Task:
    """Find a task.

    A shipped name takes precedence over a file of the same name; write `./name` for the file. A file's task is named
    after its stem.

    Args:
        name_or_path: A `.py` file, a shipped name (`dlrm/map_id`) or a unique suffix of one (`map_id`, `id`).

    Raises:
        UserError: There is no such task, the suffix is ambiguous, or the file is not a task (see `check_source`).
    """
    shipped = _shipped()
    if name_or_path in shipped:
        return _read_task(name_or_path, shipped[name_or_path])
    path = Path(name_or_path).expanduser()
    if name_or_path.endswith(".py") or path.is_file():
        return _read_task(path.stem, path)
    for matches in (
        [name for name in shipped if name_or_path and name.endswith(f"/{name_or_path}")],
        [name for name in shipped if name_or_path and name.endswith(name_or_path)],
    ):
        if len(matches) == 1:
            return _read_task(matches[0], shipped[matches[0]])
        if matches:
            raise UserError(f"task '{name_or_path}' fits {_enumerate(sorted(matches))}: write one of them in full")
    suite = name_or_path.rstrip("/")
    members = sorted(name for name in shipped if name.startswith(f"{suite}/"))
    if members:
        raise UserError(f"'{name_or_path}' is a suite: name one of its tasks, such as {members[0]}")
    if name_or_path and path.is_dir():
        raise UserError(f"{path} is a directory: name a task file (.py) in it")
    raise UserError(f"no task '{name_or_path}'{_nearest(name_or_path, shipped)}; `kernelevolve tasks list` shows all")


def read_source(path: Path) -> str:
    """Return the checked text of a task file.

    Raises:
        UserError: The file cannot be read, is not UTF-8, or is not a task (see `check_source`).
    """
    if path.is_dir():
        raise UserError(f"{path} is a directory: name a task file (.py) in it")
    if not path.exists():
        siblings = [item.name for item in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = get_close_matches(path.name, siblings, n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else _nearest(path.stem, _shipped())
        raise UserError(f"no task file {path}{hint}")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file: name a task file (.py)")
    try:
        source = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    check_source(source, str(path))
    return source


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
    """Return the first line of a module's docstring, or "" if there is none."""
    docstring = ast.get_docstring(ast.parse(source))
    return docstring.splitlines()[0] if docstring else ""


def _read_task(name: str, path: Path) -> Task:
    source = read_source(path)
    return Task(name=name, source=source, allow_aten=declared_rule(source, str(path)))


def _shipped() -> dict[str, Path]:
    return {f"{path.parent.name}/{path.stem}": path for path in SUITES.glob("*/*.py")}


def _enumerate(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _nearest(name: str, shipped: Iterable[str]) -> str:
    """Return a hint with the shipped task whose name is closest to `name`, or ""."""
    by_key = {key: full for full in shipped for key in (full, full.rpartition("/")[2])}
    near = get_close_matches(name, by_key, n=1, cutoff=0.4)
    return f"; did you mean {by_key[near[0]]}?" if near else ""


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
