"""KernelBench's problems in a clone of it, and their shrunk copies."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.breadth.shrink import Shrunk, shrink

LEVELS = (1, 2, 3)


@dataclass(frozen=True)
class Problem:
    """One file of the clone."""

    level: int
    number: int
    path: Path

    @property
    def name(self) -> str:
        return f"{self.level}/{self.path.stem}"


def problems_of(clone: Path, levels: tuple[int, ...] = LEVELS) -> list[Problem]:
    """By level and number. Raises FileNotFoundError where the folder is no clone of KernelBench."""
    found = []
    for level in levels:
        folder = clone / "KernelBench" / f"level{level}"
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not there: give a clone of KernelBench")
        for path in folder.glob("*.py"):
            number = re.match(r"(\d+)_", path.name)
            if number:
                found.append(Problem(level, int(number[1]), path))
    return sorted(found, key=lambda problem: (problem.level, problem.number))


def sample(problems: list[Problem], count: int, seed: int) -> list[Problem]:
    """So many of them, as many of each level as its share; the same ones for the same seed."""
    chosen: list[Problem] = []
    for level in sorted({problem.level for problem in problems}):
        members = [problem for problem in problems if problem.level == level]
        share = round(count * len(members) / len(problems))
        chosen += random.Random(f"{seed}.{level}").sample(members, min(share, len(members)))
    return sorted(chosen, key=lambda problem: (problem.level, problem.number))


def shrunk_copy(problem: Problem, folder: Path) -> tuple[Path, Shrunk]:
    """The copy, written into the folder."""
    copy = shrink(problem.path.read_text())
    path = folder / "tasks" / f"level{problem.level}" / problem.path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(copy.source)
    return path, copy
