"""The state of a run as the store sees it."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.core.budget import Spent
from kernelevolve.core.evaluation import Status
from kernelevolve.core.graph import Node
from kernelevolve.core.record import Record


class IslandTally(Record):
    """The results of one island."""

    island: int
    nodes: int = 0
    """The number of its nodes, without those whose evaluation was taken from an earlier node."""
    cached: int = 0
    """The number of its nodes in this session whose evaluation was taken from an earlier node."""
    best_fitness: float = 0.0
    """The best measured fitness; estimates do not count."""
    statuses: Mapping[Status, int] = {}
    """Status -> the number of nodes."""


class Improvement(Record):
    """A node that raised the best measured fitness of the whole run."""

    seconds: float
    """The seconds from the start of the run to the improvement."""
    island: int
    node_id: str
    fitness: float
    operator: str
    note: str


class Snapshot(Record):
    """The state of a run at one moment."""

    spent: Spent
    fraction: float
    """The used fraction of the budget, in [0, 1]."""
    nodes: int
    """The number of nodes."""
    statuses: Mapping[Status, int]
    """Status -> the number of distinct kernels."""
    islands: tuple[IslandTally, ...]
    best: Node | None
    """The fittest correct node."""
    improvements: tuple[Improvement, ...]
    """The latest improvements of this session, oldest first."""
    reason: str | None
    """The reason why the run has ended; None while it goes on."""
