"""Monte Carlo tree search over kernels: the value of a node comes from the kernels made from it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from kernelevolve.core.graph import Expansion, Memory, Node
from kernelevolve.search.base import View
from kernelevolve.search.frontier import Ranked
from kernelevolve.search.phased import PhasedStrategy, above, share

_ROOT = ""


@dataclass(slots=True)
class _Place:
    """A correct kernel in the tree, or the root, whose children are the drafts."""

    parent: str | None
    fitness: float = 0.0
    """The fitness of the kernel itself."""
    children: list[str] = field(default_factory=list)
    tries: int = 0
    """The number of nodes made from it, failures and known kernels included."""
    visits: int = 0
    """The number of nodes in its subtree, itself and failures included."""
    reward: float = 0.0
    """The sum of the rewards in its subtree."""
    best: float = 0.0
    """The best fitness in its subtree."""


class Mcts(PhasedStrategy):
    """Upper confidence bounds for trees, with progressive widening and virtual loss.

    The parts are UCT (Kocsis and Szepesvari 2006, "Bandit based Monte-Carlo Planning"), progressive widening (Coulom
    2007, "ReferenceComputation Elo Ratings of Move Patterns in the Game of Go") and virtual loss (Chaslot et al. 2008,
    "Parallel Monte-Carlo Tree Search").

    Selection descends from the root to the child with the highest value + `exploration` * sqrt(ln(visits of the
    parent) / visits of the child), until it reaches a node with fewer than `widening` * visits ** `widening_power`
    children, which is expanded. Expansions in flight count as visits without a reward.

    The reward of a kernel is its rank among all correct kernels, in [0, 1], so that an outlier does not compress the
    differences between the others. Failures and known kernels have reward 0. The value of a node is a weighted mean:
    `best_share` for the current rank of the best kernel in its subtree, the rest for the mean reward of its subtree.

    A failed kernel is not a node of the tree. Its repair becomes a child of the correct node that it descends from.
    """

    def __init__(
        self,
        *,
        seed: int,
        drafts: int,
        exploration: float,
        widening: float,
        widening_power: float,
        best_share: float,
        crossover: float,
        repairs: int,
        repair_share: float,
    ) -> None:
        """Create the strategy.

        Args:
            seed: The seed of all random choices.
            drafts: See `PhasedStrategy`.
            exploration: The weight of the exploration term.
            widening: The factor of progressive widening.
            widening_power: The exponent of progressive widening.
            best_share: The weight of the best kernel in a node's value.
            crossover: The share of the expansions that combine the node with the best kernel of another subtree.
            repairs: See `PhasedStrategy`.
            repair_share: See `PhasedStrategy`.

        Raises:
            UserError: A setting is out of range.
        """
        super().__init__(seed=seed, drafts=drafts, repairs=repairs, repair_share=repair_share)
        above("exploration", exploration, 0)
        above("widening", widening, 0)
        share("widening_power", widening_power)
        share("best_share", best_share)
        share("crossover", crossover)
        self._exploration = exploration
        self._widening = widening
        self._power = widening_power
        self._best_share = best_share
        self._crossover = crossover
        self._places: dict[str, _Place] = {_ROOT: _Place(None)}
        self._anchors: dict[str, str] = {}
        """Id of a node -> its place in the tree, or that of its nearest correct ancestor if it failed."""
        self._fitnesses: list[float] = []
        """The fitness of the correct kernels, in ascending order."""

    def _select(self, view: View, rng: Random) -> tuple[tuple[str, ...], Memory] | None:
        begun, passed = self._flying(view.in_flight)
        at = _ROOT
        while True:
            place = self._places[at]
            tries, visits = place.tries + begun[at], place.visits + passed[at]
            if not place.children or tries < self._widening * max(1, visits) ** self._power:
                break
            at = max(place.children, key=lambda child: self._score(child, visits, passed[child]))
        if at == _ROOT:
            return None
        if rng.random() < self._crossover and (other := self._other(at)) is not None:
            return (at, other), Memory.SIBLINGS
        return (at,), Memory.BOTH if tries else Memory.PARENT

    def _flying(self, in_flight: Sequence[Expansion]) -> tuple[Counter[str], Counter[str]]:
        """Return, by place, the number of expansions in flight of it, and the number in its subtree."""
        begun: Counter[str] = Counter()
        passed: Counter[str] = Counter()
        for expansion in in_flight:
            at: str | None = self._anchor(expansion.parents)
            begun[at or _ROOT] += 1
            while at is not None:
                passed[at] += 1
                at = self._places[at].parent
        return begun, passed

    def _anchor(self, parents: Sequence[str]) -> str:
        """Return the place that a node with these parents belongs below. The parents of a migrant may be unknown."""
        return self._anchors.get(parents[0], _ROOT) if parents else _ROOT

    def _score(self, child: str, visits_above: int, flying: int) -> float:
        place = self._places[child]
        visits = place.visits + flying
        value = self._best_share * self._rank(place.best) + (1 - self._best_share) * place.reward / visits
        return value + self._exploration * math.sqrt(math.log(visits_above) / visits)

    def _rank(self, fitness: float) -> float:
        """Return the rank among the correct kernels, in [0, 1]. Equals share the middle of their ranks."""
        below, up_to = bisect_left(self._fitnesses, fitness), bisect_right(self._fitnesses, fitness)
        return (below + up_to) / 2 / len(self._fitnesses)

    def _other(self, at: str) -> str | None:
        """Return the best kernel in the subtrees of the other drafts."""
        top: str = at
        while (up := self._places[top].parent) != _ROOT:
            top = up or _ROOT
        others = [child for child in self._places[_ROOT].children if child != top]
        if not others:
            return None
        found = max(others, key=lambda child: self._places[child].best)
        while self._places[found].fitness < self._places[found].best:
            found = max(self._places[found].children, key=lambda child: self._places[child].best)
        return found

    def _grew(self, node: Node, found: Ranked | None) -> None:
        above_it = self._anchor(node.parents)
        self._places[above_it].tries += 1
        self._anchors[node.id] = above_it
        reward, fitness, at = 0.0, 0.0, above_it
        if found is not None:
            at = self._anchors[node.id] = node.id
            self._places[at] = _Place(above_it, found.fitness)
            self._places[above_it].children.append(at)
            fitness = found.fitness
            insort(self._fitnesses, fitness)
            reward = self._rank(fitness)
        climbing: str | None = at
        while climbing is not None:
            place = self._places[climbing]
            place.visits += 1
            place.reward += reward
            place.best = max(place.best, fitness)
            climbing = place.parent
