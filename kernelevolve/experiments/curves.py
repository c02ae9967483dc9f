"""What a run had found after each evaluation, read from its folder."""

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


@dataclass(frozen=True, eq=False)
class Curve:
    """The best speedup so far of one run: evaluation by evaluation, distinct kernels alone."""

    label: str
    """Of the group that the run belongs to."""
    run: str
    """Its folder, as it was named."""
    task: str
    seconds: np.ndarray
    """(evaluations,) since the run's start, not falling."""
    best: np.ndarray
    """(evaluations,) 0 while nothing is correct. Not falling, unless it is known what was measured too high, as in a replay."""

    def __len__(self) -> int:
        return len(self.best)

    def at_seconds(self, times: np.ndarray) -> np.ndarray:
        """The best at each of these times."""
        done = np.searchsorted(self.seconds, times, side="right")
        return np.concatenate([[0.0], self.best])[done]

    def reached(self, speedup: float) -> tuple[int, float] | None:
        """(evaluations, seconds) after which the best was at least that; None where it never was."""
        found = np.flatnonzero(self.best >= speedup)
        return (int(found[0]) + 1, float(self.seconds[found[0]])) if len(found) else None


def read_curves(folders: Sequence[Path], by: str) -> list[Curve]:
    """`by`: `search`, or a setting as `islands.count`, whose value is the label.

    Raises UserError where a folder holds no run, or one without a verdict, and where runs are not of one task and device.
    """
    curves, of = [], {}
    for folder in folders:
        config, task = RunFolder(folder).load()
        of[str(folder)] = (task.id, str(config.get("device")))
        with closing(GraphReader(*RunFolder(folder).graph())) as reader:
            rows = reader.progress()
        if not rows:
            raise UserError(f"{folder}: no kernel was judged yet: there is nothing to compare")
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
    if len(set(of.values())) > 1:
        first, *others = of
        other = next(name for name in others if of[name] != of[first])
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
