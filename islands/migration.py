"""Migration between islands: the topologies, and the choice of the nodes that an island sends."""

from __future__ import annotations

import math
from enum import StrEnum
from random import Random

from kernelevolve.core.graph import Node
from kernelevolve.core.seeds import derive_seed
from kernelevolve.search.frontier import Ranked, Ranking

_SPARE = 4


class Topology(StrEnum):
    """The islands that an island sends nodes to."""

    RING = "ring"
    """Each island sends to the next one."""
    STAR = "star"
    """The first island sends to all others, and they send to the first one."""
    COMPLETE = "complete"
    """Each island sends to all others."""
    RANDOM = "random"
    """Each migration goes to another island drawn at random."""
    TORUS = "torus"
    """The islands form a grid that is as square as their number allows. Each sends to the next in its row and the next
    in its column. For a prime number of islands this is a ring.
    """


class MigrantChoice(StrEnum):
    """The nodes that an island sends."""

    BEST = "best"
    """The fittest nodes, each at most once."""
    RANDOM = "random"
    """A random sample of the correct nodes."""


def neighbours(topology: Topology, island: int, count: int, rng: Random) -> tuple[int, ...]:
    """Return the islands that an island sends to now.

    Args:
        topology: The topology of the islands.
        island: The index of the sending island.
        count: The number of islands.
        rng: The generator for the random topology.

    Returns:
        The indices of the receiving islands; empty if there is only one island.
    """
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
    """Decides what one island sends, and to which islands.

    All decisions follow from the seed and from the nodes received so far.
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
        choice: MigrantChoice,
        seed: int,
    ) -> None:
        """Create the migration of one island.

        Args:
            island: The index of the island.
            count: The number of islands.
            topology: The islands that it sends to.
            interval: The number of own nodes between two migrations.
            rate: The probability that a migration uses a given link to a neighbour.
            migrants: The number of nodes sent at a time.
            choice: The nodes that are sent.
            seed: The seed of all random choices.
        """
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
        """A uniform sample of the ids of correct nodes, for `MigrantChoice.RANDOM`."""
        self._correct = 0
        self._received = 0

    def tell(self, node: Node) -> None:
        """Add a node with a new kernel. Only a bounded number of nodes is kept."""
        self._received += 1
        if node.fitness == 0 or not self._migrants:
            return
        self._correct += 1
        if self._choice is MigrantChoice.RANDOM:
            self._sample(node.id)
            return
        self._best.add(Ranked(-node.fitness, self._received, node.id))
        if len(self._best) > self._migrants * _SPARE:
            last = self._best[-1]
            self._best.remove(last)
            self._sent.discard(last.id)

    def _sample(self, node_id: str) -> None:
        """Add a node to the reservoir (Vitter 1985, "Random Sampling with a Reservoir", algorithm R)."""
        if len(self._drawn) < self._migrants * _SPARE:
            self._drawn.append(node_id)
            return
        place = self._rng("sample", self._correct).randrange(self._correct)
        if place < len(self._drawn):
            self._drawn[place] = node_id

    def due(self, own_nodes: int) -> dict[int, tuple[str, ...]]:
        """Return what to send now.

        Args:
            own_nodes: The number of nodes that this island has made so far.

        Returns:
            Receiving island -> ids of the nodes to send. Empty unless a migration is due.
        """
        if own_nodes % self._interval or not self._migrants:
            return {}
        rng = self._rng("migrate", own_nodes)
        receivers = [
            other for other in neighbours(self._topology, self._island, self._count, rng) if rng.random() < self._rate
        ]
        chosen = self._take(rng) if receivers else ()
        return dict.fromkeys(receivers, chosen) if chosen else {}

    def _take(self, rng: Random) -> tuple[str, ...]:
        if self._choice is MigrantChoice.RANDOM:
            return tuple(rng.sample(self._drawn, min(self._migrants, len(self._drawn))))
        chosen = tuple(item.id for item in self._best.top(self._migrants) if item.id not in self._sent)
        self._sent.update(chosen)
        return chosen

    def _rng(self, what: str, number: int) -> Random:
        return Random(derive_seed(self._seed, what, self._island, number))
