"""The interface of an operator, which turns an expansion into a new kernel."""

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
    """What an operator may use to carry an expansion out."""

    task: Task
    target: Target
    """The hardware that the kernels are written for."""
    parents: tuple[Parent, ...]
    """The parents, in the order of `expansion.parents`."""
    history: tuple[Parent, ...]
    """Further nodes that the memory mode of the expansion selects, the best first."""
    known_kernels: Container[str]
    """The ids of the kernels that were evaluated already. Proposing one of them again gains nothing."""
    models: Models | None = None
    """The language models that the operator may ask; None where there are none."""
    node_id: str = ""
    """The id of the node that the draft will become."""
    evaluate: Callable[[Kernel], Awaitable[Evaluation]] | None = None
    """Evaluates a kernel that does not become a node, for operators that work in steps; None if it is not offered."""

    @classmethod
    def bare(cls, task: Task, target: Target) -> Context:
        """Return the context of a draft of the task before any kernel is known."""
        return cls(task=task, target=target, parents=(), history=(), known_kernels=())


class ExhaustedError(Exception):
    """An operator knows no kernel that was not evaluated already.

    The message says what was evaluated, or why there is nothing to propose.
    """


class Operator(ABC):
    """The base class of operators. The same seed, expansion and context give the same draft."""

    trusted: ClassVar[bool] = False
    """Whether its kernels may run without a sandbox, with access to the user's files."""
    needs_models: ClassVar[bool] = False
    """Whether the operator asks language models."""

    def prepare(self, task: Task) -> Operator:
        """Do the slow work for a task once, such as tracing.

        Args:
            task: The task.

        Returns:
            The operator for this task. It is pickled and sent to the islands.

        Raises:
            UserError: The operator cannot serve the task.
        """
        del task
        return self

    def provisional(self, task: Task) -> Operator | None:
        """Return an operator that serves the task while `prepare` is still running in another process.

        Returns:
            The operator, or None if there is none and the caller has to wait for `prepare`.
        """
        del task
        return None

    def for_target(self, target: Target) -> Operator:
        """Return this prepared operator for one target.

        Raises:
            UserError: The operator cannot write kernels for the target.
        """
        del target
        return self

    @abstractmethod
    async def propose(self, expansion: Expansion, context: Context) -> Draft:
        """Propose a new kernel.

        Args:
            expansion: What the strategy asks for.
            context: The task, the target, the parents and the history.

        Raises:
            ExhaustedError: The operator has no new kernel to propose. Nodes passed to `tell` may change that.
        """

    def tell(self, node: Node) -> None:  # noqa: B027 - many operators do not learn from nodes
        """Learn from a node that was inserted, or that arrived from another island.

        Operators receive the same nodes in the same order as strategies, and receive them again after a restart.
        """
