"""The operator seam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from typing import ClassVar

from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.graph import Draft, Expansion, Node
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from kernelevolve.llm.base import Models


@dataclass(frozen=True)
class Parent:
    """A node together with its kernel."""

    node: Node
    kernel: Kernel


@dataclass(frozen=True)
class Context:
    """What an operator is given to carry an expansion out."""

    task: Task
    target: Target
    """The hardware that kernels are for."""
    parents: tuple[Parent, ...]
    """In the order of `expansion.parents`."""
    history: tuple[Parent, ...]
    """Further nodes, as the expansion's memory mode asks for; best first."""
    known: Container[str]
    """Ids of kernels that were judged already: proposing one again brings nothing new."""
    models: Models | None = None
    """That may be asked."""
    purpose: str = ""
    """Id of the node that is to come."""
    judge: Callable[[Kernel], Awaitable[Evaluation]] | None = None
    """Has a kernel judged that becomes no node, for operators that work in steps."""

    @classmethod
    def bare(cls, task: Task, target: Target) -> Context:
        """Of a draft before anything is known."""
        return cls(task=task, target=target, parents=(), history=(), known=())


class ExhaustedError(Exception):
    """An operator has nothing to propose that is not known, as far as it was told; the text says what was judged, or why nothing is."""


class Operator(ABC):
    """Turns an expansion into a new kernel. The same seed, expansion and context give the same draft."""

    trusted: ClassVar[bool] = False
    """Whether what it writes may run where nothing keeps it from the user's files."""
    needs_models: ClassVar[bool] = False
    """Whether it asks models."""

    def prepare(self, task: Task) -> Operator:
        """Do the slow work for a task once (tracing, say) and return the operator that the islands get, pickled.

        Raises `UserError` where the task cannot be served.
        """
        del task
        return self

    def early(self, task: Task) -> Operator | None:
        """What may serve where `prepare` takes long, which goes on elsewhere meanwhile; None where it must be waited for."""
        del task
        return None

    def aimed(self, target: Target) -> Operator:
        """The operator, prepared for a task, that writes kernels for a target. Raises `UserError` where it cannot."""
        del target
        return self

    @abstractmethod
    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        """Raises ExhaustedError where there is no kernel that is new; further nodes that it is told may change that."""

    def tell(self, node: Node) -> None:  # noqa: B027 - many learn nothing
        """A node was inserted, or has come from another island: as strategies are told, in the same order, after a restart again."""
