"""Regularized evolution: tournaments select the parents, the oldest members are replaced, and an elite is kept."""

from __future__ import annotations

from collections import deque
from random import Random

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked, Ranking
from kernelevolve.search.phased import PhasedStrategy, at_least, share


class Ageing(PhasedStrategy):
    """Steady-state evolution with ageing and an elite that does not age.

    Ageing follows Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search". The population
    consists of the `elite` best kernels of all and of the youngest of the others.
    """

    def __init__(
        self,
        *,
        seed: int,
        drafts: int,
        population: int,
        elite: int,
        tournament: int,
        crossover: float,
        repairs: int,
        repair_share: float,
    ) -> None:
        """Create the strategy.

        Args:
            seed: The seed of all random choices.
            drafts: See `PhasedStrategy`.
            population: The number of correct kernels that are kept.
            elite: The number of best kernels that are not replaced by age.
            tournament: The number of members drawn at random of which the fittest becomes a parent.
            crossover: The share of the expansions that combine two parents; the others change one.
            repairs: See `PhasedStrategy`.
            repair_share: See `PhasedStrategy`.

        Raises:
            UserError: A setting is out of range.
        """
        super().__init__(seed=seed, drafts=drafts, repairs=repairs, repair_share=repair_share)
        at_least("population", population, 2)
        at_least("elite", elite, 1)
        at_least("tournament", tournament, 1)
        share("crossover", crossover)
        for name, value in (("elite", elite), ("tournament", tournament)):
            if value > population:
                raise UserError(f"search.{name}={value}: must be at most search.population={population}")
        self._population = population
        self._elite = elite
        self._tournament = tournament
        self._crossover = crossover
        self._members = Ranking()
        self._by_age: deque[Ranked] = deque()

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        del view
        if not self._members:
            return None
        first = self._winner(rng, None)
        if len(self._members) > 1 and rng.random() < self._crossover:
            return (first.id, self._winner(rng, first).id), Memory.SIBLINGS
        return (first.id,), rng.choice((Memory.PARENT, Memory.SIBLINGS, Memory.BOTH, Memory.CLEAN))

    def _winner(self, rng: Random, other: Ranked | None) -> Ranked:
        """Return the fittest of a tournament among all members except `other`."""
        size = len(self._members)
        drawn = rng.sample(range(size), min(self._tournament + (other is not None), size))
        return min(member for index in drawn if (member := self._members[index]) != other)

    def _grew(self, node: Node, found: Ranked | None) -> None:
        del node
        if found is None:
            return
        self._members.add(found)
        self._by_age.append(found)
        if len(self._members) > self._population:
            elite = set(self._members.top(self._elite))
            # Members of the elite keep their age: a member that drops out of the elite may be the oldest.
            oldest = next((member for member in self._by_age if member not in elite), self._members[-1])
            self._by_age.remove(oldest)
            self._members.remove(oldest)
