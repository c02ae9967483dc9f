"""A walk without judgement: whatever is correct may be changed next."""

from __future__ import annotations

from random import Random

from kernelevolve.core.graph import Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked
from kernelevolve.search.phased import PhasedStrategy


class RandomWalk(PhasedStrategy):
    """After the drafts, expands a correct node drawn uniformly, however slow it is. Settings of `PhasedStrategy`.

    What a strategy gains over it, it gains by choosing parents.
    """

    def __init__(self, *, seed: int, drafts: int, repairs: int, repair_share: float) -> None:
        super().__init__(seed=seed, drafts=drafts, repairs=repairs, repair_share=repair_share)
        self._correct: list[str] = []

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        del view
        return ((rng.choice(self._correct),), Memory.CLEAN) if self._correct else None

    def _grew(self, node: Node, found: Ranked | None) -> None:
        del node
        if found is not None:
            self._correct.append(found.id)
