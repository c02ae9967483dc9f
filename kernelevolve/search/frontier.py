"""Ordered collections of nodes for search strategies."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kernelevolve.core.graph import Expansion, Node


@dataclass(frozen=True, slots=True, order=True)
class Ranked:
    """A node in a ranking. The fittest come first; among equals, the earlier ones."""

    loss: float
    """The negative fitness."""
    number: int
    """The position of the node in the order of insertion."""
    id: str

    @property
    def fitness(self) -> float:
        """The fitness of the node."""
        return -self.loss


class Ranking:
    """A list of nodes, best first. Adding and removing cost a binary search and a memory move."""

    def __init__(self) -> None:
        self._items: list[Ranked] = []

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self._items)

    def __getitem__(self, index: int) -> Ranked:
        return self._items[index]

    def top(self, count: int) -> list[Ranked]:
        """Return the `count` best, or all if there are fewer."""
        return self._items[:count]

    def add(self, item: Ranked) -> None:
        """Insert a node at its rank."""
        insort(self._items, item)

    def remove(self, item: Ranked) -> None:
        """Remove a node. Raises ValueError if it is not in the ranking."""
        index = bisect_left(self._items, item)
        if index == len(self._items) or self._items[index] != item:
            raise ValueError(f"{item.id} is not in the ranking")
        del self._items[index]


class Repairs:
    """Failed nodes that are worth a repair, the most promising first.

    A failed node gets one repair. If the repair fails too, it may be repaired in turn, up to `limit` repairs in a
    chain. Failures are ranked by the fitness of their parent: a failed change of a fast kernel may become a faster
    one.
    """

    def __init__(self, limit: int) -> None:
        """Allow up to `limit` repairs in a chain."""
        self._limit = limit
        self._open = Ranking()
        self._by_id: dict[str, Ranked] = {}
        self._links: dict[str, int] = {}

    def tell(self, node: Node, number: int, promise: float, is_new: bool) -> None:
        """Record a node: it closes the failures that it repairs, and opens a new one if it failed itself.

        Args:
            node: The node.
            number: Its position in the order of insertion.
            promise: The fitness of the nearest correct ancestor; the best of them if there are several parents.
            is_new: Whether its kernel is new. A failure with a known kernel is not repaired.
        """
        links = 0
        for parent in node.parents:
            if parent in self._by_id:
                self._open.remove(self._by_id.pop(parent))
            if parent in self._links:
                links = max(links, self._links.pop(parent) + 1)
        if is_new and node.fitness == 0 and links < self._limit:
            item = Ranked(-promise, number, node.id)
            self._open.add(item)
            self._by_id[node.id] = item
            self._links[node.id] = links

    def best(self, in_flight: Sequence[Expansion]) -> str | None:
        """Return the most promising failed node that is not being repaired, or None."""
        taken = {parent for expansion in in_flight for parent in expansion.parents}
        return next((item.id for item in self._open if item.id not in taken), None)
