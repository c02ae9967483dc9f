"""Finding tasks by path or name. Does not import torch."""

from __future__ import annotations

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.aten.source import AtenTasks
from kernelevolve.tasks.files import TaskFiles
from kernelevolve.tasks.kernelbench.source import KernelBench
from kernelevolve.tasks.shipped import ShippedTasks
from kernelevolve.tasks.source import TaskSource, TaskSummary

_SHIPPED = ShippedTasks()
SOURCES: tuple[TaskSource, ...] = (_SHIPPED, KernelBench(), AtenTasks(), TaskFiles(_SHIPPED))
"""In the order in which a name is looked up: a shipped name takes precedence over a file; `./name` is the file."""


def list_tasks() -> tuple[TaskSummary, ...]:
    """Return the tasks that all sources list one by one, sorted by name within each."""
    return tuple(summary for source in SOURCES for summary in source.list())


def list_groups() -> tuple[TaskSummary, ...]:
    """Return the groups of tasks that `list_tasks` does not name one by one."""
    return tuple(summary for source in SOURCES for summary in source.groups())


def members_of(group: str) -> tuple[TaskSummary, ...] | None:
    """Return the tasks of a group: a suite, a group of a source, or a folder; None if there is no such group.

    Raises:
        UserError: The name is that of a group whose tasks cannot be listed.
    """
    return next((found for source in SOURCES if (found := source.members(group)) is not None), None)


def find_task(name: str) -> Task:
    """Return the task of a name or a path; a part of a name will do where it is unique.

    Raises:
        UserError: There is no such task, the part of a name is ambiguous, or the task cannot be read.
    """
    for find in (*(source.find for source in SOURCES), *(source.guess for source in SOURCES)):
        task = find(name)
        if task is not None:
            return task
    raise _no_such_task(name)


def full_name(name: str) -> str:
    """Return the name under which `find_task` finds a task in any process: the full one for a part of a name, a path as it is.

    Raises:
        UserError: As `find_task`, except that a task which has to be made is not made.
    """
    for source in SOURCES:
        found = source.full_name(name)
        if found is not None:
            return found
    for source in SOURCES:
        task = source.guess(name)
        if task is not None:
            return task.name
    raise _no_such_task(name)


def _no_such_task(name: str) -> UserError:
    hint = next(filter(None, (source.hint(name) for source in SOURCES)), "")
    return UserError(f"no task '{name}'{hint}{'' if hint else ';'} `kernelevolve tasks list` shows all")
