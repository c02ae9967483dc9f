"""A random walk: the next parent is any correct node."""

from __future__ import annotations

from random import Random

from kernelevolve.core.graph import Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked
from kernelevolve.search.phased import PhasedStrategy


class RandomWalk(PhasedStrategy):
    """Expands a correct node drawn uniformly, however slow it is.

    It is the baseline for strategies that select parents.
    """

    def __init__(self, *, seed: int, drafts: int, repairs: int, repair_share: float) -> None:
        """Create the strategy. For the arguments see `PhasedStrategy`."""
        super().__init__(seed=seed, drafts=drafts, repairs=repairs, repair_share=repair_share)
        self._correct: list[str] = []

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        del view
        return ((rng.choice(self._correct),), Memory.CLEAN) if self._correct else None

    def _grew(self, node: Node, found: Ranked | None) -> None:
        del node
        if found is not None:
            self._correct.append(found.id)
