"""Best first: expand the fittest node until it stops paying."""

from __future__ import annotations

from collections import Counter
from random import Random

from kernelevolve.core.graph import Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked, Ranking
from kernelevolve.search.phased import PhasedStrategy, at_least, share


class Greedy(PhasedStrategy):
    """After the drafts, expands the best of the open nodes; a node closes after `width` children.

    `exploration` is the share of the expansions that go to an open node drawn at random instead. When all nodes are
    closed, drafts are asked for. Settings of `PhasedStrategy` besides.
    """

    def __init__(
        self, *, seed: int, drafts: int, width: int, exploration: float, repairs: int, repair_share: float
    ) -> None:
        super().__init__(seed=seed, drafts=drafts, repairs=repairs, repair_share=repair_share)
        at_least("width", width, 1)
        share("exploration", exploration)
        self._width = width
        self._exploration = exploration
        self._open = Ranking()
        self._by_id: dict[str, Ranked] = {}
        self._children: Counter[str] = Counter()

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        running = Counter(parent for expansion in view.in_flight for parent in expansion.parents)
        if self._open and rng.random() < self._exploration:
            node = self._open[rng.randrange(len(self._open))]
            if self._children[node.id] + running[node.id] < self._width:
                return (node.id,), Memory.CLEAN
        for node in self._open:
            children = self._children[node.id] + running[node.id]
            if children < self._width:
                # The first child follows the way that led here; later ones must differ from their siblings.
                return (node.id,), Memory.BOTH if children else Memory.PARENT
        return None

    def _grew(self, node: Node, found: Ranked | None) -> None:
        for parent in node.parents:
            if parent in self._by_id:
                self._children[parent] += 1
                if self._children[parent] >= self._width:
                    self._open.remove(self._by_id.pop(parent))
        if found is not None:
            self._open.add(found)
            self._by_id[found.id] = found
