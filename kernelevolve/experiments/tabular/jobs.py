"""Running many replays on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from kernelevolve import config
from kernelevolve.core.errors import UserError
from kernelevolve.experiments.curves import Curve
from kernelevolve.experiments.tabular.moving import MoveSettings, TableOperator
from kernelevolve.experiments.tabular.replay import ReplayPlan, replay
from kernelevolve.experiments.tabular.table import Table
from kernelevolve.search.base import Strategy

_CHUNK = 5
"""The number of seeds of a setting that a process takes at a time."""
_BUILTIN = "BuiltinOperator"


@dataclass(frozen=True)
class Job:
    """One setting on one table."""

    table: Path
    label: str
    composed: Mapping[str, Any]
    """The configuration of a run as plain data."""
    evaluations: int
    """The number of evaluations of a run."""


def plan_of(table: Table, composed: Mapping[str, Any], evaluations: int) -> ReplayPlan:
    """Return the plan of a replay.

    Args:
        table: The table.
        composed: The configuration of a run as plain data.
        evaluations: The number of evaluations of a run.

    Raises:
        UserError: The configuration is illegal, or its operator is not the built-in one.
    """
    checked = config.check(composed)
    if checked.operator.target.rpartition(".")[2] != _BUILTIN:
        raise UserError(f"operator={checked.operator.target}: a table holds the built-in operator's kernels alone")
    targets = checked.island_strategies()
    classes = [(target.resolve("search"), target.arguments) for target in targets]
    for target in targets:
        target.build("search", seed=0)  # An illegal value raises here.

    def strategy(island: int, seed: int) -> Strategy:
        kind, arguments = classes[island]
        found = kind(**arguments, seed=seed)
        assert isinstance(found, Strategy)
        return found

    return ReplayPlan(
        table=table,
        operator=TableOperator(table, MoveSettings(**checked.operator.arguments)),
        strategy=strategy,
        islands=checked.islands,
        evaluations=evaluations,
        finalists=checked.final.candidates,
    )


def replay_all(
    jobs: Sequence[Job], seeds: Sequence[int], processes: int, report: Callable[[int], None] = lambda _: None
) -> list[Curve]:
    """Replay every job with every seed, in that order.

    Args:
        jobs: The jobs.
        seeds: The seeds.
        processes: The number of processes.
        report: A function that is called with the number of finished runs.

    Raises:
        UserError: A job is illegal (see `plan_of`).
    """
    for job in jobs:
        plan_of(_table(job.table), job.composed, job.evaluations)
    parts = [(job, seeds[at : at + _CHUNK]) for job in jobs for at in range(0, len(seeds), _CHUNK)]
    curves: list[Curve] = []
    for found in _mapped(parts, processes):
        curves += found
        report(len(curves))
    return curves


def _mapped(parts: Sequence[tuple[Job, Sequence[int]]], processes: int) -> Iterator[list[Curve]]:
    if processes == 1 or len(parts) == 1:
        yield from map(_replayed, parts)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        yield from pool.map(_replayed, parts)


def _replayed(part: tuple[Job, Sequence[int]]) -> list[Curve]:
    job, seeds = part
    plan = plan_of(_table(job.table), job.composed, job.evaluations)
    return [replay(plan, job.label, seed) for seed in seeds]


@cache
def _table(path: Path) -> Table:
    return Table.load(path)
