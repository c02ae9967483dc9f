"""What strategies keep of the nodes that they were told: small, ordered, with costs that do not grow with the graph."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kernelevolve.core.graph import Expansion, Node


@dataclass(frozen=True, slots=True, order=True)
class Ranked:
    """A node in a ranking: the fittest first, the earlier of equals first."""

    loss: float
    number: int
    id: str

    @property
    def fitness(self) -> float:
        return -self.loss


class Ranking:
    """Nodes, best first. Adding and removing cost a binary search and a move of memory."""

    def __init__(self) -> None:
        self._items: list[Ranked] = []

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self._items)

    def __getitem__(self, index: int) -> Ranked:
        return self._items[index]

    def top(self, count: int) -> list[Ranked]:
        """The `count` best, fewer where there are fewer."""
        return self._items[:count]

    def add(self, item: Ranked) -> None:
        insort(self._items, item)

    def remove(self, item: Ranked) -> None:
        """Raises ValueError where it is not in the ranking."""
        index = bisect_left(self._items, item)
        if index == len(self._items) or self._items[index] != item:
            raise ValueError(f"{item.id} is not in the ranking")
        del self._items[index]


class Repairs:
    """Failed nodes that are worth another try, the most promising first.

    A failed node gets one repair. When that fails too, its own repair is the next link of the chain; a chain holds at
    most `limit` of them. The parent's fitness says how promising a failure is: what was built on a fast kernel may
    become a faster one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = Ranking()
        self._by_id: dict[str, Ranked] = {}
        self._links: dict[str, int] = {}

    def tell(self, node: Node, number: int, promise: float, is_new: bool) -> None:
        """Note the `number`-th node told: which failures it was the repair of and, where its kernel is new, that it
        failed itself. `promise` is the fitness of the best correct node that it descends from directly."""
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
        """The failed node to repair next that nobody is repairing now."""
        taken = {parent for expansion in in_flight for parent in expansion.parents}
        return next((item.id for item in self._open if item.id not in taken), None)
