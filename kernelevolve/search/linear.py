"""A chain: each kernel is made from the one before it."""

from __future__ import annotations

from random import Random

from kernelevolve.core.graph import Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked
from kernelevolve.search.phased import PhasedStrategy, at_least, share


class Linear(PhasedStrategy):
    """After the drafts, expands the tip of a chain, which begins with the best of them.

    A child becomes the tip where it is correct and at most `slack` (a share) slower than the tip. After `patience`
    children in a row of which none does, the chain ends: the next correct draft begins another. A migrant that is
    fitter than the tip takes its place. Settings of `PhasedStrategy` besides.
    """

    def __init__(
        self, *, seed: int, drafts: int, slack: float, patience: int, repairs: int, repair_share: float
    ) -> None:
        super().__init__(seed=seed, drafts=drafts, repairs=repairs, repair_share=repair_share)
        share("slack", slack)
        at_least("patience", patience, 1)
        self._slack = slack
        self._patience = patience
        self._tip: Ranked | None = None
        self._in_vain = 0

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        del view, rng
        return ((self._tip.id,), Memory.PARENT) if self._tip is not None else None

    def _grew(self, node: Node, found: Ranked | None) -> None:
        tip = self._tip
        is_child = tip is not None and tip.id in node.parents
        if found is not None and (tip is None or found.fitness > tip.fitness * (1 - self._slack * is_child)):
            self._tip, self._in_vain = found, 0
        elif is_child:
            self._in_vain += 1
            if self._in_vain >= self._patience:
                self._tip, self._in_vain = None, 0
