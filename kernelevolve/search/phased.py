"""What strategies of two phases share: drafts first, then expansions and bounded repairs."""

from __future__ import annotations

from abc import abstractmethod
from random import Random

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Expansion, Memory, Node, Phase
from kernelevolve.core.seeds import derive_seed
from kernelevolve.search.base import Strategy, View
from kernelevolve.search.frontier import Ranked, Repairs


class PhasedStrategy(Strategy):
    """The first `drafts` steps are independent drafts, the others are repairs and what the subclass chooses.

    `repairs` bounds how often in a row a failed kernel is tried again (0: never, for operators that cannot use a
    failure); `repair_share` is the share of the expansions that go to repairs while there are any. Where nothing can be
    expanded, another draft is asked for.
    """

    def __init__(self, *, seed: int, drafts: int, repairs: int, repair_share: float) -> None:
        at_least("drafts", drafts, 1)
        at_least("repairs", repairs, 0)
        share("repair_share", repair_share)
        self._seed = seed
        self._drafts = drafts
        self._repair_share = repair_share
        self._repairs = Repairs(repairs)
        self._told = 0
        self._fitness: dict[str, float] = {}
        self._kernels: set[str] = set()

    def ask(self, view: View) -> Expansion:
        rng = Random(derive_seed(self._seed, "ask", view.step))
        seed = derive_seed(self._seed, "expand", view.step)
        choice = None if view.step < self._drafts else self._choose(view, rng)
        if choice is None:
            return Expansion(step=view.step, phase=Phase.DRAFT, memory=Memory.CLEAN, seed=seed)
        parents, memory = choice
        return Expansion(step=view.step, phase=Phase.EXPAND, parents=parents, memory=memory, seed=seed)

    def tell(self, node: Node) -> None:
        self._told += 1
        promise = max((self._fitness.get(parent, 0.0) for parent in node.parents), default=0.0)
        self._fitness[node.id] = node.fitness or promise
        is_new = node.kernel_id not in self._kernels
        self._kernels.add(node.kernel_id)
        self._repairs.tell(node, self._told, promise, is_new)
        self._grew(node, Ranked(-node.fitness, self._told, node.id) if is_new and node.fitness > 0 else None)

    @abstractmethod
    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        """The correct nodes to expand, and the memory mode; None where there are none."""

    @abstractmethod
    def _grew(self, node: Node, found: Ranked | None) -> None:
        """A node was told; `found` is its rank where it is correct and its kernel was not known."""

    def _choose(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        failed = self._repairs.best(view.in_flight)
        repairing = failed is not None and rng.random() < self._repair_share
        selected = None if repairing else self._select(view, rng)
        if selected is None and failed is not None:
            return (failed,), Memory.PARENT
        return selected


def at_least(name: str, value: int, least: int) -> None:
    """Raises `UserError` for a setting that is too small."""
    if value < least:
        raise UserError(f"search.{name}={value}: must be at least {least}")


def above(name: str, value: float, limit: float) -> None:
    """Raises `UserError` for a setting that is not above its limit."""
    if not value > limit:
        raise UserError(f"search.{name}={value:g}: must be above {limit:g}")


def share(name: str, value: float) -> None:
    """Raises `UserError` for a share outside of 0 to 1."""
    if not 0 <= value <= 1:
        raise UserError(f"search.{name}={value:g}: must lie between 0 and 1")
