"""Tasks in files of the user."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.form import check_source, declared_rule, summary_of
from kernelevolve.tasks.source import TaskSource, TaskSummary


class TaskFiles(TaskSource):
    """Tasks by the path of a `.py` file; each is named after the stem of its file."""

    def __init__(self, elsewhere: TaskSource | None = None) -> None:
        """`elsewhere`: a source whose names may have been meant where there is no such file."""
        self._elsewhere = elsewhere

    def list(self) -> tuple[TaskSummary, ...]:
        return ()

    def find(self, name: str) -> Task | None:
        path = Path(name).expanduser()
        if not (name.endswith(".py") or path.is_file()):
            return None
        return read_task(path.stem, path, self._elsewhere.hint(path.stem) if self._elsewhere else "")

    def full_name(self, name: str) -> str | None:
        return None if self.find(name) is None else name

    def members(self, group: str) -> tuple[TaskSummary, ...] | None:
        """Return the files `*.py` of a folder. One that is no task is among them; its summary says why."""
        folder = Path(group).expanduser()
        if not group or "\0" in group or not folder.is_dir():
            return None
        base = group if group.endswith("/") else f"{group}/"
        return tuple(
            TaskSummary(name=f"{base}{path.name}", summary=_summary(path)) for path in sorted(folder.glob("*.py"))
        )

    def guess(self, name: str) -> Task | None:
        path = Path(name).expanduser()
        if name and path.is_dir():
            raise UserError(f"{path} is a directory: name a task file (.py) in it")
        return None


def _summary(path: Path) -> str:
    try:
        return summary_of(read_source(path))
    except UserError as error:
        return str(error)


def read_task(name: str, path: Path, hint: str = "") -> Task:
    """Return the task of a file. Raises UserError as `read_source` does."""
    source = read_source(path, hint)
    return Task(name=name, source=source, allow_aten=declared_rule(source, str(path)))


def read_source(path: Path, hint: str = "") -> str:
    """Return the checked text of a task file.

    Args:
        path: The file.
        hint: What to append to the message if there is no such file, nor one of a similar name.

    Raises:
        UserError: The file cannot be read, is not UTF-8, or is not a task (see `check_source`).
    """
    if path.is_dir():
        raise UserError(f"{path} is a directory: name a task file (.py) in it")
    if not path.exists():
        siblings = [item.name for item in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = get_close_matches(path.name, siblings, n=1)
        raise UserError(f"no task file {path}{f'; did you mean {path.parent / near[0]}?' if near else hint}")
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
