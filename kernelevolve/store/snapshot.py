"""Where a run stands, as the store sees it."""

from __future__ import annotations

from collections.abc import Mapping

from kernelevolve.core.budget import Spent
from kernelevolve.core.evaluation import Status
from kernelevolve.core.graph import Node
from kernelevolve.core.record import Record


class IslandTally(Record):
    """What an island made."""

    island: int
    nodes: int = 0
    """Without those whose evaluation was taken from an earlier node."""
    cached: int = 0
    """In this session."""
    best_fitness: float = 0.0
    """As measured, not guessed."""
    statuses: Mapping[Status, int] = {}


class Improvement(Record):
    """The best measured fitness of the whole run rose."""

    seconds: float
    island: int
    node_id: str
    fitness: float
    operator: str
    note: str


class Snapshot(Record):
    """A run at one moment."""

    spent: Spent
    fraction: float
    """Of the budget, 0 to 1."""
    nodes: int
    statuses: Mapping[Status, int]
    """Over distinct kernels."""
    islands: tuple[IslandTally, ...]
    best: Node | None
    improvements: tuple[Improvement, ...]
    """The latest of this session, oldest first."""
    reason: str | None
    """Why the run has ended, once it has."""
