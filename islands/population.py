"""What an island knows and decides, whoever carries it out: in an actor with real evaluations, or on a table with a counted clock."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from islands.migration import Migration
from islands.settings import IslandSettings
from kernelevolve.core.graph import Expansion, Node
from kernelevolve.core.seeds import derive_seed
from kernelevolve.search.base import Strategy, View

K = TypeVar("K", bound=Hashable)
"""What tells kernels apart: their ids, or their rows in a table."""


class Population(Generic[K]):
    """The state of one island: its strategy, the expansions in flight, and the kernels that it knows.

    All of it follows from the settings, the seed and the nodes that it was told.
    """

    def __init__(self, index: int, strategy: Strategy, settings: IslandSettings, seed: int) -> None:
        """
        Args:
            index: The number of the island.
            strategy: The search strategy, made with the island's own seed.
            settings: The settings of the islands.
            seed: The seed of the run.
        """
        self._index = index
        self._strategy = strategy
        self._reproposals = settings.reproposals
        self._migration: Migration = settings.migration(index, seed)
        self._received: set[K] = set()
        """The kernels whose nodes the strategy has received."""
        self._migrants: set[str] = set()
        """The ids of the nodes that came from other islands."""
        self._own_nodes = 0
        self._in_flight: dict[int, Expansion] = {}
        self.known_kernels: set[K] = set()
        """All kernels known to be evaluated: those received, and those that others were found to evaluate."""
        self.next_step = 0

    def ask(self, fraction: float) -> Expansion:
        """Ask the strategy what to expand next. The expansion is in flight until `drop`, or until its node is told.

        Args:
            fraction: The share of the budget that is spent.
        """
        step, self.next_step = self.next_step, self.next_step + 1
        view = View(step=step, island=self._index, in_flight=tuple(self._in_flight.values()), fraction=fraction)
        expansion = self._in_flight[step] = self._strategy.ask(view)
        return expansion

    def attempts(self, expansion: Expansion) -> Iterator[tuple[Expansion, bool]]:
        """Yield (the expansion with a seed of its own, whether it is the last attempt) until a kernel is new."""
        for attempt in range(self._reproposals + 1):
            seed = derive_seed(expansion.seed, "again", attempt) if attempt else expansion.seed
            yield expansion.model_copy(update={"seed": seed}), attempt == self._reproposals

    def drop(self, step: int) -> None:
        """Forget an expansion that is no longer in flight."""
        self._in_flight.pop(step, None)

    def tell(self, node: Node, kernel: K) -> None:
        """Receive a node of this island or of another one.

        Args:
            node: The node.
            kernel: Its kernel.
        """
        self._strategy.tell(node)
        if kernel not in self._received:
            self._received.add(kernel)
            self.known_kernels.add(kernel)
            self._migration.tell(node)
        if node.island == self._index:
            self._own_nodes += 1
            self.drop(node.step)
        else:
            self._migrants.add(node.id)

    def departures(self) -> Mapping[int, Sequence[str]]:
        """Return the ids of the nodes that migrate now, by the island that they go to. Called after each node of this island."""
        return self._migration.due(self._own_nodes)

    def is_stranger(self, node_id: str) -> bool:
        """Return whether a node has not come from another island before."""
        return node_id not in self._migrants

    def takes(self, node: Node, kernel: K) -> bool:
        """Return whether a migrant is taken in: it is another island's, and its kernel is new here."""
        return node.island != self._index and kernel not in self._received
