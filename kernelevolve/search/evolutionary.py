"""An archive of unlike kernels: the best of each kind, so that what is slow today but built otherwise is not lost."""

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
    """Bins of traits, equal on a logarithmic scale between the least and the greatest value seen of each."""

    def __init__(self, traits: Sequence[str], bins: int) -> None:
        self._traits = tuple(traits)
        self._bins = bins
        self._ranges: dict[str, tuple[float, float]] = {}

    def widen(self, traits: Mapping[str, float]) -> bool:
        """Take note of a kernel's traits. Returns whether a range has moved, and with it the bins."""
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
        """Where a kernel belongs; its traits were noted."""
        return tuple(self._bin(name, traits.get(name, 0.0)) for name in self._traits)

    def _bin(self, name: str, value: float) -> int:
        if value <= 0:
            return _UNKNOWN
        low, high = self._ranges[name]
        if high == low:
            return 0
        return min(self._bins - 1, int((math.log(value) - low) / (high - low) * self._bins))


class Evolutionary(PhasedStrategy):
    """MAP-Elites (Mouret and Clune 2015, "Illuminating search spaces by mapping elites") with tournaments.

    The archive holds the best kernel of each cell of a grid over `traits`, `bins` for each; when a range moves, all are
    sorted in anew. A parent wins a tournament of `tournament` elites drawn at random. `crossover` is the share of the
    expansions that mix two parents. After `stagnation` nodes told of which none entered the archive, parents are the
    elites that came from other islands, where there are any, and drafts every other time, until one enters. Settings of
    `PhasedStrategy` besides.
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
        """Of the elites: island and traits."""
        self._in_vain = 0

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        pool = list(self._elites.values())
        if self._in_vain >= self._stagnation:
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
        self._in_vain += 1
        if found is None:
            return
        if self._grid.widen(node.traits):
            elites, self._elites = self._elites.values(), {}
            for elite in sorted(elites):
                self._enter(elite, *self._origin[elite.id])
        if self._enter(found, node.island, node.traits):
            self._in_vain = 0

    def _enter(self, found: Ranked, island: int, traits: Mapping[str, float]) -> bool:
        """Whether it is the best of its cell, and in the archive from now on."""
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
