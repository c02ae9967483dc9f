"""The operator seam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import ClassVar

from kernelevolve.core.graph import Draft, Expansion, Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task


@dataclass(frozen=True)
class Parent:
    """A node together with its kernel."""

    node: Node
    kernel: Kernel


@dataclass(frozen=True)
class Context:
    """What an operator is given to carry an expansion out."""

    task: Task
    device: str
    facts: Mapping[str, str]
    """Of the device."""
    parents: tuple[Parent, ...]
    """In the order of `expansion.parents`."""
    history: tuple[Parent, ...]
    """Further nodes, as the expansion's memory mode asks for; best first."""
    known: Container[str]
    """Ids of kernels that were judged already: proposing one again brings nothing new."""


class Operator(ABC):
    """Turns an expansion into a new kernel. The same seed, expansion and context give the same draft."""

    trusted: ClassVar[bool] = False
    """Whether what it writes may run where nothing keeps it from the user's files."""

    def prepare(self, task: Task, device: str) -> Operator:
        """Do the slow work for a task once (tracing, say) and return the operator that the islands get, pickled.

        Raises `UserError` where the task cannot be served.
        """
        del task, device
        return self

    @abstractmethod
    async def propose(self, expansion: Expansion, context: Context) -> Draft: ...
