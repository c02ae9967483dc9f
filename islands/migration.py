"""Who sends which nodes where, and when."""

from __future__ import annotations

import math
from enum import StrEnum
from random import Random

from kernelevolve.core.graph import Node
from kernelevolve.core.seeds import derive_seed
from kernelevolve.search.frontier import Ranked, Ranking

_SPARE = 4


class Topology(StrEnum):
    """Which islands an island sends to."""

    RING = "ring"
    """The next one."""
    STAR = "star"
    """The first one, which sends to all."""
    COMPLETE = "complete"
    """All others."""
    RANDOM = "random"
    """Another one each time."""
    TORUS = "torus"
    """The next in its row and in its column of a grid that is as square as the number allows; a ring for prime numbers."""


class Choice(StrEnum):
    """Which nodes an island sends."""

    BEST = "best"
    """The fittest, each once."""
    RANDOM = "random"
    """Any of its correct ones."""


def neighbours(topology: Topology, island: int, count: int, rng: Random) -> tuple[int, ...]:
    """The islands, of `count`, that an island sends to now; none where it is alone. `rng`: for what is drawn."""
    others = [other for other in range(count) if other != island]
    if not others:
        return ()
    match topology:
        case Topology.RING:
            return ((island + 1) % count,)
        case Topology.STAR:
            return tuple(others) if island == 0 else (0,)
        case Topology.COMPLETE:
            return tuple(others)
        case Topology.RANDOM:
            return (rng.choice(others),)
        case Topology.TORUS:
            rows = max(size for size in range(1, math.isqrt(count) + 1) if count % size == 0)
            columns = count // rows
            row, column = divmod(island, columns)
            found = (row * columns + (column + 1) % columns, (row + 1) % rows * columns + column)
            return tuple(dict.fromkeys(other for other in found if other != island))


class Migration:
    """Of one island: what it sends, and to whom. All of it follows from the seed and the nodes told.

    `interval`: own nodes between two migrations; `rate`: the share of the ways to a neighbour that each of them takes; `migrants`:
    nodes that are sent at a time.
    """

    def __init__(
        self,
        *,
        island: int,
        count: int,
        topology: Topology,
        interval: int,
        rate: float,
        migrants: int,
        choice: Choice,
        seed: int,
    ) -> None:
        self._island = island
        self._count = count
        self._topology = topology
        self._interval = interval
        self._rate = rate
        self._migrants = migrants
        self._choice = choice
        self._seed = seed
        self._best = Ranking()
        self._sent: set[str] = set()
        self._drawn: list[str] = []
        """A uniform sample of the correct nodes, for `Choice.RANDOM`."""
        self._correct = 0
        self._told = 0

    def tell(self, node: Node) -> None:
        """Note a node with a new kernel. Keeps a bounded number."""
        self._told += 1
        if node.fitness == 0 or not self._migrants:
            return
        self._correct += 1
        if self._choice is Choice.RANDOM:
            self._sample(node.id)
            return
        self._best.add(Ranked(-node.fitness, self._told, node.id))
        if len(self._best) > self._migrants * _SPARE:
            last = self._best[-1]
            self._best.remove(last)
            self._sent.discard(last.id)

    def _sample(self, node_id: str) -> None:
        """Keep it with the probability that every other one has (Vitter 1985, "Random Sampling with a Reservoir", algorithm R)."""
        if len(self._drawn) < self._migrants * _SPARE:
            self._drawn.append(node_id)
            return
        place = self._rng("sample", self._correct).randrange(self._correct)
        if place < len(self._drawn):
            self._drawn[place] = node_id

    def due(self, own_nodes: int) -> dict[int, tuple[str, ...]]:
        """What goes to which island after that many nodes of this island's own; mostly nothing."""
        if own_nodes % self._interval or not self._migrants:
            return {}
        rng = self._rng("migrate", own_nodes)
        ways = [
            other for other in neighbours(self._topology, self._island, self._count, rng) if rng.random() < self._rate
        ]
        chosen = self._take(rng) if ways else ()
        return dict.fromkeys(ways, chosen) if chosen else {}

    def _take(self, rng: Random) -> tuple[str, ...]:
        if self._choice is Choice.RANDOM:
            return tuple(rng.sample(self._drawn, min(self._migrants, len(self._drawn))))
        chosen = tuple(item.id for item in self._best.top(self._migrants) if item.id not in self._sent)
        self._sent.update(chosen)
        return chosen

    def _rng(self, what: str, number: int) -> Random:
        return Random(derive_seed(self._seed, what, self._island, number))
