"""Finding tasks by path or name. Does not import torch."""

from __future__ import annotations

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.files import TaskFiles
from kernelevolve.tasks.shipped import ShippedTasks
from kernelevolve.tasks.source import TaskSource, TaskSummary

_SHIPPED = ShippedTasks()
SOURCES: tuple[TaskSource, ...] = (_SHIPPED, TaskFiles(_SHIPPED))
"""In the order in which a name is looked up: a shipped name takes precedence over a file; `./name` is the file."""


def list_tasks() -> tuple[TaskSummary, ...]:
    """Return the tasks of all sources, sorted by name within each."""
    return tuple(summary for source in SOURCES for summary in source.list())


def find_task(name: str) -> Task:
    """Return the task of a name or a path; a part of a name will do where it is unique.

    Raises:
        UserError: There is no such task, the part of a name is ambiguous, or the task cannot be read.
    """
    for find in (*(source.find for source in SOURCES), *(source.guess for source in SOURCES)):
        task = find(name)
        if task is not None:
            return task
    hint = next(filter(None, (source.hint(name) for source in SOURCES)), "")
    raise UserError(f"no task '{name}'{hint}{'' if hint else ';'} `kernelevolve tasks list` shows all")
