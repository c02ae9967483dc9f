"""The tasks that are shipped with the package, in suites."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.files import read_task
from kernelevolve.tasks.form import summary_of
from kernelevolve.tasks.source import TaskSource, TaskSummary

SUITES = Path(__file__).parent / "suites"
"""The shipped tasks, `<suite>/<task>.py`. They are package data that is read, never imported."""
_MOST_NAMED = 5


class ShippedTasks(TaskSource):
    """Tasks by name (`dlrm/map_id`), or by a unique suffix of one (`map_id`, `id`)."""

    def list(self) -> tuple[TaskSummary, ...]:
        return tuple(
            TaskSummary(name=name, summary=summary_of(path.read_text(encoding="utf-8")))
            for name, path in sorted(_paths().items())
        )

    def find(self, name: str) -> Task | None:
        path = _paths().get(name)
        return None if path is None else read_task(name, path)

    def members(self, group: str) -> tuple[TaskSummary, ...] | None:
        suite = group.rstrip("/")
        return tuple(each for each in self.list() if suite and each.name.startswith(f"{suite}/")) or None

    def guess(self, name: str) -> Task | None:
        paths = _paths()
        for end in (f"/{name}", name):
            matches = [each for each in paths if name and each.endswith(end)]
            if len(matches) == 1:
                return read_task(matches[0], paths[matches[0]])
            if matches:
                raise UserError(f"task '{name}' fits {_enumerate(sorted(matches))}: write one of them in full")
        suite = name.rstrip("/")
        members = sorted(each for each in paths if each.startswith(f"{suite}/"))
        if members:
            raise UserError(f"'{name}' is a suite: name one of its tasks, such as {members[0]}")
        return None

    def hint(self, name: str) -> str:
        by_key = {key: full for full in _paths() for key in (full, full.rpartition("/")[2])}
        near = get_close_matches(name, by_key, n=1)
        return f"; did you mean {by_key[near[0]]}?" if near else ""


def _paths() -> dict[str, Path]:
    return {f"{path.parent.name}/{path.stem}": path for path in SUITES.glob("*/*.py")}


def _enumerate(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (
        f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    )
