"""The interface of graph stores: insert-only, and durable when an insert returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel


class GraphStore(ABC):
    """The nodes, kernels and island logs of one run.

    The log of an island is the sequence of nodes that its strategy received: its own ones and migrants. Replaying it
    restores the strategy, so a node and its position in the log are written in one transaction. Every operation of
    an iteration takes at most logarithmic time.
    """

    @abstractmethod
    def insert(self, entries: Sequence[tuple[Node, Kernel]]) -> None:
        """Insert nodes, each at the end of its own island's log.

        Either all nodes are inserted or none. They are on disk when this returns. Inserting an identical node again
        has no effect.

        Raises:
            ValueError: A node with the same id differs.
        """

    @abstractmethod
    def receive(self, island: int, node_ids: Sequence[str]) -> None:
        """Append migrants to an island's log, on disk when this returns. Nodes already in the log are skipped."""

    @abstractmethod
    def log(self, island: int) -> Iterator[Node]:
        """Yield the nodes that the island's strategy received, in order."""

    @abstractmethod
    def node(self, node_id: str) -> Node:
        """Return a node. Raises KeyError for an unknown id."""

    @abstractmethod
    def kernel(self, kernel_id: str) -> Kernel:
        """Return a kernel. Raises KeyError for an unknown id."""

    @abstractmethod
    def evaluation(self, kernel_id: str) -> Evaluation | None:
        """Return the evaluation of a kernel, or None if no node has it."""

    @abstractmethod
    def best(self, count: int = 1) -> list[Node]:
        """Return the fittest correct nodes with distinct kernels, best first."""

    @abstractmethod
    def children(self, node_id: str, count: int = 100) -> list[Node]:
        """Return the first `count` children of a node in the order of insertion."""

    @abstractmethod
    def page(self, after: int = 0, count: int = 500) -> list[tuple[int, Node]]:
        """Return (place, node) of the nodes that were inserted after a place, at most `count`, in the order of insertion."""

    @abstractmethod
    def edges(self, after: int = 0, count: int = 2000) -> list[tuple[int, str, str]]:
        """Return (place of the child, id of the parent, id of the child) of the edges to nodes inserted after a place, in that order.

        The edges to one node are on one page: the last node's may exceed `count`.
        """

    @abstractmethod
    def statistics(self) -> Mapping[str, float]:
        """Return counts over the whole graph in constant time.

        The keys are `nodes`, `kernels` (distinct), `extra_evaluations`, `best_fitness`, `seconds` (of the last node),
        `since_improvement`, `tokens` and `cost` (over all nodes), and `status.<status>` over distinct kernels.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the graph, so that another process may write it."""
