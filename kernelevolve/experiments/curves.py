"""The best speedup of a run after each evaluation, read from the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernelevolve.core.errors import UserError
from kernelevolve.report.folder import RunFolder
from kernelevolve.store.reader import GraphReader

BY_SEARCH = "search"
"""The label by which runs are grouped by their search strategies."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The best speedup so far after each evaluation of a distinct kernel in one run."""

    label: str
    """The label of the group that the run belongs to."""
    run: str
    """The folder of the run as the user named it."""
    task: str
    """The name of the task."""
    seconds: np.ndarray
    """The seconds from the start of the run to each evaluation: shape (evaluations,), non-decreasing."""
    best: np.ndarray
    """The best speedup so far: shape (evaluations,), 0 while no kernel is correct. It is non-decreasing, except in a
    replay, where the true speedups of overestimated kernels are known.
    """

    def __len__(self) -> int:
        return len(self.best)

    def at_seconds(self, times: np.ndarray) -> np.ndarray:
        """Return the best speedup at each of these times in seconds."""
        done = np.searchsorted(self.seconds, times, side="right")
        return np.concatenate([[0.0], self.best])[done]

    def reached(self, speedup: float) -> tuple[int, float] | None:
        """Return (evaluations, seconds) after which the best speedup was at least this one; None if it never was."""
        found = np.flatnonzero(self.best >= speedup)
        return (int(found[0]) + 1, float(self.seconds[found[0]])) if len(found) else None


def read_curves(folders: Sequence[Path], by: str) -> list[Curve]:
    """Read the curves of runs.

    Args:
        folders: The folders of the runs.
        by: The key of the setting whose value is the label, such as `islands.count`; `search` for the strategies.

    Raises:
        UserError: A folder holds no run, or one without evaluations; or the runs are of several tasks or devices.
    """
    curves, kinds = [], {}
    for folder in folders:
        config, task = RunFolder(folder).load()
        kinds[str(folder)] = (task.id, str(config.get("device")))
        with closing(GraphReader(*RunFolder(folder).graph())) as reader:
            rows = reader.progress()
        if not rows:
            raise UserError(f"{folder}: no kernel was evaluated yet: there is nothing to compare")
        seconds, fitness = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
        curves.append(
            Curve(
                _label(config, by),
                str(folder),
                task.name,
                np.maximum.accumulate(seconds),
                np.maximum.accumulate(fitness),
            )
        )
    if len(set(kinds.values())) > 1:
        first, *others = kinds
        other = next(name for name in others if kinds[name] != kinds[first])
        raise UserError(f"{first} and {other} are of different tasks or devices: compare runs of one")
    return curves


def _label(config: Mapping[str, Any], by: str) -> str:
    if by == BY_SEARCH:
        chosen = config.get("strategies") or [config["search"]]
        names = [str(strategy["_target_"]).split(".")[-2] for strategy in chosen]
        return "+".join(dict.fromkeys(names))
    at: Any = config
    for part in by.split("."):
        if not isinstance(at, Mapping) or part not in at:
            raise UserError(f"--by {by}: these runs have no such setting")
        at = at[part]
    return str(at)
