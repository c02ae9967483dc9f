"""The store seam: insert-only, durable when an insert returns, logarithmic in everything an iteration does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.graph import Node
from kernelevolve.core.kernel import Kernel


class GraphStore(ABC):
    """The nodes, kernels and tell-logs of one run.

    An island's log is the sequence of nodes that its strategy was told: its own and migrants. Replaying it restores
    the strategy, so a node and its place in the log are written in one transaction.
    """

    @abstractmethod
    def insert(self, entries: Sequence[tuple[Node, Kernel]]) -> None:
        """Insert nodes, each at the end of its own island's log. All or none; on disk when this returns.

        Inserting a node again that is already there, equal, changes nothing. Raises ValueError when it differs.
        """

    @abstractmethod
    def receive(self, island: int, node_ids: Sequence[str]) -> None:
        """Append migrants to an island's log; those that are in it already are skipped. On disk when this returns."""

    @abstractmethod
    def log(self, island: int) -> Iterator[Node]:
        """What the island's strategy was told, in order."""

    @abstractmethod
    def node(self, node_id: str) -> Node:
        """Raises KeyError."""

    @abstractmethod
    def kernel(self, kernel_id: str) -> Kernel:
        """Raises KeyError."""

    @abstractmethod
    def evaluation(self, kernel_id: str) -> Evaluation | None:
        """The verdict on a kernel, if a node has one."""

    @abstractmethod
    def best(self, count: int = 1) -> list[Node]:
        """The fittest correct nodes with different kernels, best first."""

    @abstractmethod
    def children(self, node_id: str, count: int = 100) -> list[Node]:
        """The first nodes that name this one as a parent, in the order in which they were inserted."""

    @abstractmethod
    def statistics(self) -> Mapping[str, float]:
        """`nodes`, `kernels` (distinct), `best_fitness`, `seconds` (of the last node), `since_improvement`, `tokens` and
        `cost` (over all nodes), and per status `status.<status>` over distinct kernels. Constant time."""

    @abstractmethod
    def close(self) -> None: ...
