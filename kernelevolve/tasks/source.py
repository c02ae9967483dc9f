"""The seam of task sources: where tasks come from."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kernelevolve.core.record import Record
from kernelevolve.core.task import Task


class TaskSummary(Record):
    """One line of `kernelevolve tasks list`: a task, or a group of tasks."""

    name: str
    """The name by which the task or the group is found."""
    summary: str
    """What it computes or holds, in one line; empty if that is not known."""


class TaskSource(ABC):
    """A collection of tasks. None of its methods runs a task's code in this process."""

    @abstractmethod
    def list(self) -> tuple[TaskSummary, ...]:
        """Return the tasks that are listed one by one, sorted by name. This is quick."""

    @abstractmethod
    def find(self, name: str) -> Task | None:
        """Return the task of a name; None if the name is not one of this source.

        Raises:
            UserError: The name is one of this source, and the task cannot be read.
        """

    def full_name(self, name: str) -> str | None:
        """Return the name under which `find` finds a task in any process; None if the name is not one of this source.

        Raises:
            UserError: The name is one of this source, and there is no such task. Whether a task that has to be made can be made is
                not tried.
        """
        task = self.find(name)
        return None if task is None else task.name

    def groups(self) -> tuple[TaskSummary, ...]:
        """Return the groups of tasks that `list` does not name one by one. This is quick."""
        return ()

    def members(self, group: str) -> tuple[TaskSummary, ...] | None:
        """Return the tasks of a group in their order; None if the name is no group of this source.

        Raises:
            UserError: The name is a group of this source, and its tasks cannot be listed.
        """
        del group
        return None

    def guess(self, name: str) -> Task | None:
        """Return the task that a part of a name means; None if it means nothing here.

        Raises:
            UserError: Several tasks fit, or the name is that of a group of tasks.
        """
        del name
        return None

    def hint(self, name: str) -> str:
        """Return a hint with the task whose name is closest, to be appended to a message; empty if none is close."""
        del name
        return ""
