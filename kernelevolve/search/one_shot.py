"""Independent drafts, as many as the budget allows: the baseline of every search."""

from __future__ import annotations

from kernelevolve.core.graph import Expansion, Memory, Node, Phase
from kernelevolve.core.seeds import derive_seed
from kernelevolve.search.base import Strategy, View


class OneShot(Strategy):
    """Best of n: every expansion is a draft, whatever the results are."""

    def __init__(self, *, seed: int) -> None:
        """Create the strategy. `seed` is the seed of the drafts."""
        self._seed = seed

    def ask(self, view: View) -> Expansion:
        seed = derive_seed(self._seed, "expand", view.step)
        return Expansion(step=view.step, phase=Phase.DRAFT, memory=Memory.CLEAN, seed=seed)

    def tell(self, node: Node) -> None:
        del node
