"""Best-first search: expand the fittest node until it has enough children."""

from __future__ import annotations

from collections import Counter
from random import Random

from kernelevolve.core.graph import Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked, Ranking
from kernelevolve.search.phased import PhasedStrategy, at_least, share


class Greedy(PhasedStrategy):
    """Expands the fittest open node. A node is closed when it has `width` children.

    If all nodes are closed, the strategy asks for drafts.
    """

    def __init__(
        self, *, seed: int, drafts: int, width: int, exploration: float, repairs: int, repair_share: float
    ) -> None:
        """Create the strategy.

        Args:
            seed: The seed of all random choices.
            drafts: See `PhasedStrategy`.
            width: The number of children after which a node is closed.
            exploration: The share of the expansions that go to a random open node instead.
            repairs: See `PhasedStrategy`.
            repair_share: See `PhasedStrategy`.

        Raises:
            UserError: A setting is out of range.
        """
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
                # The first child continues the line of its ancestors. Later ones must also differ from their siblings.
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
