"""The base of strategies with two phases: drafts first, then expansions and bounded repairs."""

from __future__ import annotations

from abc import abstractmethod
from random import Random

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Expansion, Memory, Node, Phase
from kernelevolve.core.seeds import derive_seed
from kernelevolve.search.base import Strategy, View
from kernelevolve.search.frontier import Ranked, Repairs


class PhasedStrategy(Strategy):
    """A strategy whose first steps are drafts.

    Later steps are repairs of failures, or expansions that the subclass selects.

    If nothing can be expanded, the strategy asks for another draft.
    """

    def __init__(self, *, seed: int, drafts: int, repairs: int, repair_share: float) -> None:
        """Create the strategy.

        Args:
            seed: The seed of all random choices.
            drafts: The number of steps that are drafts.
            repairs: The maximum number of repairs in a row of a failed kernel; 0 for operators that cannot use a
                failure.
            repair_share: The share of the expansions that are repairs while there are failures to repair.

        Raises:
            UserError: A setting is out of range.
        """
        at_least("drafts", drafts, 1)
        at_least("repairs", repairs, 0)
        share("repair_share", repair_share)
        self._seed = seed
        self._drafts = drafts
        self._repair_share = repair_share
        self._repairs = Repairs(repairs)
        self._received = 0
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
        self._received += 1
        promise = max((self._fitness.get(parent, 0.0) for parent in node.parents), default=0.0)
        self._fitness[node.id] = node.fitness or promise
        is_new = node.kernel_id not in self._kernels
        self._kernels.add(node.kernel_id)
        self._repairs.tell(node, self._received, promise, is_new)
        self._grew(node, Ranked(-node.fitness, self._received, node.id) if is_new and node.fitness > 0 else None)

    @abstractmethod
    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        """Return the ids of the correct nodes to expand and the memory mode, or None if there are none."""

    @abstractmethod
    def _grew(self, node: Node, found: Ranked | None) -> None:
        """Receive a node. `found` is its rank if it is correct and its kernel is new, else None."""

    def _choose(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        failed = self._repairs.best(view.in_flight)
        repairing = failed is not None and rng.random() < self._repair_share
        selected = None if repairing else self._select(view, rng)
        if selected is None and failed is not None:
            return (failed,), Memory.PARENT
        return selected


def at_least(name: str, value: int, least: int) -> None:
    """Raise UserError if a setting of the group `search` is less than `least`."""
    if value < least:
        raise UserError(f"search.{name}={value}: must be at least {least}")


def above(name: str, value: float, limit: float) -> None:
    """Raise UserError if a setting of the group `search` is not above `limit`."""
    if not value > limit:
        raise UserError(f"search.{name}={value:g}: must be above {limit:g}")


def share(name: str, value: float) -> None:
    """Raise UserError if a setting of the group `search` is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise UserError(f"search.{name}={value:g}: must lie between 0 and 1")
