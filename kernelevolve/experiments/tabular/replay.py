"""Replay of a search on a table.

Islands, strategies and migration are those of a real run. Evaluations are looked up in the table, and the clock is
simulated: one worker evaluates kernels in the order of the proposals, each for the seconds that it took when the
table was made. A measured speedup is the table's with random noise of one measurement. An apparent new best is
measured again, as the evaluator does.
"""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from islands.population import Population
from islands.settings import IslandSettings
from kernelevolve.core.evaluation import Diagnosis, Evaluation, Measurement, Ratio, Status
from kernelevolve.core.graph import Expansion, Node
from kernelevolve.core.seeds import derive_seed
from kernelevolve.experiments.curves import Curve
from kernelevolve.experiments.tabular.moving import TableOperator
from kernelevolve.experiments.tabular.table import Table
from kernelevolve.search.base import Strategy

_RUN = "replay"
BuildStrategy = Callable[[int, int], Strategy]
"""(island, seed) -> the island's strategy."""


@dataclass(frozen=True)
class ReplayPlan:
    """The definition of a replay, except for its seed."""

    table: Table
    operator: TableOperator
    strategy: BuildStrategy
    """The function that builds the strategy of an island."""
    islands: IslandSettings
    evaluations: int
    """The number of evaluations."""
    finalists: int
    """The number of kernels that a run would measure precisely at its end. The best of them by the table counts as the
    result.
    """


def replay(plan: ReplayPlan, label: str, seed: int) -> Curve:
    """Replay one run.

    Args:
        plan: The definition of the replay.
        label: The label of the curve.
        seed: The seed of the run.

    Returns:
        The curve. After each evaluation it holds the true speedup of the kernel that the run would have returned.
    """
    return _Run(plan, seed).curve(label)


@dataclass(frozen=True, order=True)
class _Event:
    """The end of an evaluation."""

    seconds: float
    number: int
    """The order in which evaluations began, which breaks ties."""
    island: int = field(compare=False)
    expansion: Expansion = field(compare=False)
    row: int = field(compare=False)
    move: str = field(compare=False)
    is_new: bool = field(compare=False)


class _Island:
    """The state of one island."""

    def __init__(self, index: int, plan: ReplayPlan, seed: int) -> None:
        strategy = plan.strategy(index, derive_seed(seed, "island", index))
        self.population: Population[int] = Population(index, strategy, plan.islands, seed)
        self.mail: deque[Node] = deque()


class _Run:
    """The simulation of one run."""

    def __init__(self, plan: ReplayPlan, seed: int) -> None:
        self._plan = plan
        self._seed = seed
        self._noise = np.random.default_rng(derive_seed(seed, "noise"))
        self._islands = [_Island(index, plan, seed) for index in range(plan.islands.count)]
        self._events: list[_Event] = []
        self._begun = 0
        self._free = 0.0
        """The time at which the worker becomes free."""
        self._claimed: dict[int, float] = {}
        """Row -> the time at which its evaluation ends."""
        self._evaluations: dict[int, Evaluation] = {}
        self._nodes: dict[str, tuple[Node, int]] = {}
        self._repeats = 0
        self._best = 0.0
        self._leaders: list[tuple[float, int]] = []
        """(-measured speedup, row) of the finalists if the run ended now."""
        self._curve: list[tuple[float, float]] = []

    def curve(self, label: str) -> Curve:
        """Run the simulation."""
        for island in range(self._plan.islands.count):
            for _ in range(self._plan.islands.in_flight):
                self._begin(island, 0.0)
        while self._events and not self._over():
            event = heapq.heappop(self._events)
            self._finish(event)
            self._begin(event.island, event.seconds)
        seconds, best = (np.array(column, dtype=float) for column in zip(*self._curve, strict=True))
        return Curve(label, f"seed {self._seed}", self._plan.table.task, seconds, best)

    def _over(self) -> bool:
        return len(self._curve) >= self._plan.evaluations or self._repeats >= self._plan.islands.max_repeats

    def _begin(self, index: int, now: float) -> None:
        plan, island = self._plan, self._islands[index]
        expansion = island.population.ask(min(1.0, len(self._curve) / plan.evaluations))
        parents = [self._nodes[parent][1] for parent in expansion.parents]
        row, move = self._propose(island.population, expansion, parents)
        is_new = row not in self._claimed
        if is_new:
            self._free = max(self._free, now) + float(plan.table.seconds[row])
            self._claimed[row] = self._free
        at = max(now, self._claimed[row])
        heapq.heappush(self._events, _Event(at, self._begun, index, expansion, row, move, is_new))
        self._begun += 1

    def _propose(self, population: Population[int], expansion: Expansion, parents: Sequence[int]) -> tuple[int, str]:
        for proposal, _ in population.attempts(expansion):
            row, move = self._plan.operator.propose(proposal, parents, population.known_kernels)
            if row not in population.known_kernels:
                if row not in self._claimed:
                    break
                population.known_kernels.add(row)
        return row, move

    def _finish(self, event: _Event) -> None:
        island, expansion = self._islands[event.island], event.expansion
        evaluation = self._evaluate(event.row) if event.is_new else self._evaluations[event.row]
        node = Node(
            id=f"{_RUN}.{event.island}.{expansion.step}",
            run=_RUN,
            island=event.island,
            step=expansion.step,
            phase=expansion.phase,
            parents=expansion.parents,
            operator=f"builtin/{event.move}",
            kernel_id=evaluation.kernel_id,
            traits={name: float(values[event.row]) for name, values in self._plan.table.traits.items()},
            evaluation=evaluation,
            cached=not event.is_new,
            seconds=event.seconds,
        )
        self._nodes[node.id] = node, event.row
        if event.is_new:
            self._repeats = 0
            self._note(event, evaluation)
        else:
            self._repeats += 1
        population = island.population
        population.tell(node, event.row)
        for neighbour, node_ids in population.departures().items():
            self._islands[neighbour].mail.extend(self._nodes[node_id][0] for node_id in node_ids)
        while island.mail:
            migrant, row = self._nodes[island.mail.popleft().id]
            if population.takes(migrant, row):
                population.tell(migrant, row)

    def _note(self, event: _Event, evaluation: Evaluation) -> None:
        """Add a point to the curve."""
        if evaluation.fitness > 0:
            insort(self._leaders, (-evaluation.fitness, event.row))
            del self._leaders[self._plan.finalists :]
        found = max((float(self._plan.table.speedup[row]) for _, row in self._leaders), default=0.0)
        self._curve.append((event.seconds, found))

    def _evaluate(self, row: int) -> Evaluation:
        table = self._plan.table
        status = table.verdict(row)
        measured = None
        if status is Status.OK:
            measured = self._measured(row)
            if measured > self._best:
                measured = self._measured(row)
            self._best = max(self._best, measured)
        self._evaluations[row] = found = _evaluation(table, row, status, measured)
        return found

    def _measured(self, row: int) -> float:
        table = self._plan.table
        return float(table.speedup[row]) * math.exp(float(table.deviation[row]) * self._noise.standard_normal())


def _evaluation(table: Table, row: int, status: Status, measured: float | None) -> Evaluation:
    """Return the evaluation of a row. `measured` is the speedup of a correct kernel, else None."""
    if measured is None:
        diagnosis = Diagnosis(stage="table", summary="what the table says")
        return Evaluation(
            kernel_id=str(row), task_id=table.task, device=table.device, status=status, diagnosis=diagnosis
        )
    ratio = Ratio(value=measured, low=measured, high=measured)
    measurement = Measurement(speedup=ratio, reference_seconds=measured, kernel_seconds=1.0, rounds=1)
    return Evaluation(
        kernel_id=str(row), task_id=table.task, device=table.device, status=status, measurement=measurement
    )
