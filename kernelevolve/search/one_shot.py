"""Independent drafts, as many as the budget allows: the baseline that every search must beat."""

from __future__ import annotations

from kernelevolve.core.graph import Expansion, Memory, Node, Phase
from kernelevolve.core.seeds import derive_seed
from kernelevolve.search.base import Strategy, View


class OneShot(Strategy):
    """A search of depth one (best of n). Nothing that is told changes what is asked."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def ask(self, view: View) -> Expansion:
        seed = derive_seed(self._seed, "expand", view.step)
        return Expansion(step=view.step, phase=Phase.DRAFT, memory=Memory.CLEAN, seed=seed)

    def tell(self, node: Node) -> None:
        del node
