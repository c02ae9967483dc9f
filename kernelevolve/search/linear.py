"""Iterative refinement: each kernel is made from the one before it."""

from __future__ import annotations

from random import Random

from kernelevolve.core.graph import Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked
from kernelevolve.search.phased import PhasedStrategy, at_least, share


class Linear(PhasedStrategy):
    """Expands the tip of a chain that starts at the best draft.

    A child becomes the tip if it is correct and at most `slack` slower than the tip. After `patience` children in a
    row that do not, the chain ends, and the next correct draft starts another. A migrant that is fitter than the tip
    replaces it.
    """

    def __init__(
        self, *, seed: int, drafts: int, slack: float, patience: int, repairs: int, repair_share: float
    ) -> None:
        """Create the strategy.

        Args:
            seed: The seed of all random choices.
            drafts: See `PhasedStrategy`.
            slack: The accepted loss of fitness as a share of the tip's.
            patience: The number of rejected children after which the chain ends.
            repairs: See `PhasedStrategy`.
            repair_share: See `PhasedStrategy`.

        Raises:
            UserError: A setting is out of range.
        """
        super().__init__(seed=seed, drafts=drafts, repairs=repairs, repair_share=repair_share)
        share("slack", slack)
        at_least("patience", patience, 1)
        self._slack = slack
        self._patience = patience
        self._tip: Ranked | None = None
        self._rejected = 0

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        del view, rng
        return ((self._tip.id,), Memory.PARENT) if self._tip is not None else None

    def _grew(self, node: Node, found: Ranked | None) -> None:
        tip = self._tip
        is_child = tip is not None and tip.id in node.parents
        if found is not None and (tip is None or found.fitness > tip.fitness * (1 - self._slack * is_child)):
            self._tip, self._rejected = found, 0
        elif is_child:
            self._rejected += 1
            if self._rejected >= self._patience:
                self._tip, self._rejected = None, 0
