"""The seam of task sources: where tasks come from."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kernelevolve.core.record import Record
from kernelevolve.core.task import Task


class TaskSummary(Record):
    """One line of `kernelevolve tasks list`."""

    name: str
    """The name by which the task is found."""
    summary: str
    """What it computes, in one line; empty if that is not known."""


class TaskSource(ABC):
    """A collection of tasks. None of its methods runs a task's code."""

    @abstractmethod
    def list(self) -> tuple[TaskSummary, ...]:
        """Return the tasks that can be listed, sorted by name."""

    @abstractmethod
    def find(self, name: str) -> Task | None:
        """Return the task of a name; None if the name is not one of this source.

        Raises:
            UserError: The name is one of this source, and the task cannot be read.
        """

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
