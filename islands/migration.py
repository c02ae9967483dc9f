"""Who sends which nodes where."""

from __future__ import annotations

from kernelevolve.core.graph import Node
from kernelevolve.search.frontier import Ranked, Ranking

_SPARE = 4


def ring(island: int, count: int) -> tuple[int, ...]:
    """The neighbours that an island sends to: the next one, none where it is alone."""
    return ((island + 1) % count,) if count > 1 else ()


class Emigrants:
    """The fittest nodes of an island, each to be sent once."""

    def __init__(self, migrants: int) -> None:
        self._migrants = migrants
        self._best = Ranking()
        self._sent: set[str] = set()
        self._told = 0

    def tell(self, node: Node) -> None:
        """Note a node with a new kernel. Keeps a bounded number."""
        self._told += 1
        if node.fitness > 0:
            self._best.add(Ranked(-node.fitness, self._told, node.id))
            if len(self._best) > self._migrants * _SPARE:
                last = self._best[-1]
                self._best.remove(last)
                self._sent.discard(last.id)

    def take(self) -> tuple[str, ...]:
        """Those of the `migrants` fittest that were not sent yet."""
        chosen = tuple(item.id for item in self._best.top(self._migrants) if item.id not in self._sent)
        self._sent.update(chosen)
        return chosen
