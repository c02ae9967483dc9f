"""MAP-Elites: an archive of the best kernel of each kind, so that a slow kernel with a different structure is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked
from kernelevolve.search.phased import PhasedStrategy, at_least, share

_UNKNOWN = -1
"""The bin of a trait that a kernel does not have."""


class Grid:
    """Bins over traits, of equal width on a logarithmic scale between the smallest and the largest value seen."""

    def __init__(self, traits: Sequence[str], bins: int) -> None:
        """Create a grid with `bins` bins for each of the traits."""
        self._traits = tuple(traits)
        self._bins = bins
        self._ranges: dict[str, tuple[float, float]] = {}

    def widen(self, traits: Mapping[str, float]) -> bool:
        """Extend the ranges to a kernel's traits. Return whether a range, and with it the bins, changed."""
        moved = False
        for name in self._traits:
            value = traits.get(name, 0.0)
            if value <= 0:
                continue
            at = math.log(value)
            low, high = self._ranges.get(name, (at, at))
            if name not in self._ranges or at < low or at > high:
                self._ranges[name] = min(low, at), max(high, at)
                moved = True
        return moved

    def cell(self, traits: Mapping[str, float]) -> tuple[int, ...]:
        """Return the cell of a kernel whose traits have been passed to `widen`."""
        return tuple(self._bin(name, traits.get(name, 0.0)) for name in self._traits)

    def _bin(self, name: str, value: float) -> int:
        if value <= 0:
            return _UNKNOWN
        low, high = self._ranges[name]
        if high == low:
            return 0
        return min(self._bins - 1, int((math.log(value) - low) / (high - low) * self._bins))


class Evolutionary(PhasedStrategy):
    """MAP-Elites (Mouret and Clune 2015, "Illuminating search spaces by mapping elites") with tournament selection.

    The archive holds the best kernel of each cell of a grid over the traits. When a range changes, all elites are
    assigned to cells again.

    When the search stagnates, parents are elites that came from other islands, and every second expansion is a draft
    on average, until a kernel enters the archive.
    """

    def __init__(
        self,
        *,
        seed: int,
        drafts: int,
        traits: Sequence[str],
        bins: int,
        tournament: int,
        crossover: float,
        stagnation: int,
        repairs: int,
        repair_share: float,
    ) -> None:
        """Create the strategy.

        Args:
            seed: The seed of all random choices.
            drafts: See `PhasedStrategy`.
            traits: The names of the traits that span the grid.
            bins: The number of bins per trait.
            tournament: The number of elites drawn at random of which the fittest becomes a parent.
            crossover: The share of the expansions that combine two parents.
            stagnation: The number of nodes in a row without a new elite after which the search counts as stagnating.
            repairs: See `PhasedStrategy`.
            repair_share: See `PhasedStrategy`.

        Raises:
            UserError: A setting is out of range.
        """
        super().__init__(seed=seed, drafts=drafts, repairs=repairs, repair_share=repair_share)
        if not traits or len(set(traits)) != len(traits):
            raise UserError("search.traits: name at least one, and none twice")
        at_least("bins", bins, 1)
        at_least("tournament", tournament, 1)
        at_least("stagnation", stagnation, 1)
        share("crossover", crossover)
        self._grid = Grid(traits, bins)
        self._tournament = tournament
        self._crossover = crossover
        self._stagnation = stagnation
        self._elites: dict[tuple[int, ...], Ranked] = {}
        self._origin: dict[str, tuple[int, Mapping[str, float]]] = {}
        """Id of an elite -> its island and traits."""
        self._stagnant_nodes = 0

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        pool = list(self._elites.values())
        if self._stagnant_nodes >= self._stagnation:
            pool = [elite for elite in pool if self._origin[elite.id][0] != view.island]
            if rng.random() < 0.5:
                return None
        if not pool:
            return None
        first = self._winner(pool, rng)
        others = [elite for elite in pool if elite != first]
        if others and rng.random() < self._crossover:
            return (first.id, self._winner(others, rng).id), Memory.SIBLINGS
        return (first.id,), rng.choice((Memory.PARENT, Memory.SIBLINGS, Memory.BOTH, Memory.CLEAN))

    def _winner(self, pool: Sequence[Ranked], rng: Random) -> Ranked:
        return min(rng.sample(pool, min(self._tournament, len(pool))))

    def _grew(self, node: Node, found: Ranked | None) -> None:
        self._stagnant_nodes += 1
        if found is None:
            return
        if self._grid.widen(node.traits):
            elites, self._elites = self._elites.values(), {}
            for elite in sorted(elites):
                self._enter(elite, *self._origin[elite.id])
        if self._enter(found, node.island, node.traits):
            self._stagnant_nodes = 0

    def _enter(self, found: Ranked, island: int, traits: Mapping[str, float]) -> bool:
        """Put a kernel into the archive if it is the best of its cell. Return whether it was."""
        cell = self._grid.cell(traits)
        held = self._elites.get(cell)
        if held is not None and held <= found:
            if found.id in self._origin:
                del self._origin[found.id]
            return False
        if held is not None:
            del self._origin[held.id]
        self._elites[cell] = found
        self._origin[found.id] = island, traits
        return True
