"""Samples of KernelBench's problems, and their shrunk copies."""

from __future__ import annotations

import random
from pathlib import Path

from kernelevolve.tasks.kernelbench.problems import Clone, Problem
from scripts.bench.breadth.shrink import Shrunk, shrink

LEVELS = (1, 2, 3)


def problems_of(clone: Path, levels: tuple[int, ...] = LEVELS) -> list[Problem]:
    """By level and number. Raises UserError where the folder is no clone of KernelBench, or has no such level."""
    found = Clone(clone)
    return [problem for level in levels for problem in found.level(level)]


def name_of(problem: Problem) -> str:
    return f"{problem.level}/{problem.stem}"


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
    copy = shrink(problem.source())
    path = folder / "tasks" / f"level{problem.level}" / f"{problem.stem}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(copy.source)
    return path, copy
