"""KernelBench's problems by name: `kernelbench:level1/36`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.tasks.form import declared_rule, summary_of
from kernelevolve.tasks.kernelbench.problems import REPOSITORY, Clone, DataSet, Problem, Problems, data_set_readable
from kernelevolve.tasks.source import TaskSource, TaskSummary

PREFIX = "kernelbench:"
VARIABLE = "KERNELBENCH_DIR"
"""The environment variable that names a clone of KernelBench."""
_NAME = re.compile(r"(?:(?P<folder>.*)/)?level(?P<level>\d+)(?:/(?P<problem>[^/]+))?")
_FORMS = "kernelbench:level1/36, or kernelbench:FOLDER/level1/36 with the folder of a clone"


class KernelBench(TaskSource):
    """Tasks by level and number or name.

    `kernelbench:level1/36` and `kernelbench:level1/36_RMSNorm_` are problems of the clone that KERNELBENCH_DIR names;
    if it is not set, of the published data set. In `kernelbench:FOLDER/level1/36` the clone is named with the task.
    Without a problem the name is that of a group: `kernelbench:level1`, and `kernelbench:` for all levels.
    """

    def list(self) -> tuple[TaskSummary, ...]:
        return ()

    def groups(self) -> tuple[TaskSummary, ...]:
        folder = os.environ.get(VARIABLE, "")
        if not folder:
            how = "" if data_set_readable() else f" (set {VARIABLE} to a clone, or install kernelevolve[kernelbench])"
            return (TaskSummary(name=f"{PREFIX}level1", summary=f"KernelBench's problems, also level2, ...{how}."),)
        try:
            clone = Clone(Path(folder).expanduser())
        except UserError as error:
            return (TaskSummary(name=PREFIX, summary=f"{VARIABLE}: {error}."),)
        return tuple(
            TaskSummary(name=f"{PREFIX}level{level}", summary=f"{len(clone.of(level))} problems of KernelBench.")
            for level in clone.levels()
        )

    def members(self, group: str) -> tuple[TaskSummary, ...] | None:
        if not group.startswith(PREFIX):
            return None
        text = group.removeprefix(PREFIX).rstrip("/")
        parsed = _NAME.fullmatch(text)
        if parsed is None:
            problems = _problems(text, group)
            levels = problems.levels()
        elif parsed["problem"] is None:
            problems = _problems(parsed["folder"] or "", group)
            levels = (int(parsed["level"]),)
        else:
            return None
        folder = parsed["folder"] if parsed else text
        return tuple(
            TaskSummary(name=_name(folder or "", problem), summary=_summary(problem))
            for level in levels
            for problem in problems.level(level)
        )

    def find(self, name: str) -> Task | None:
        if not name.startswith(PREFIX):
            return None
        parsed = _NAME.fullmatch(name.removeprefix(PREFIX).rstrip("/"))
        if parsed is None:
            raise UserError(f"no task '{name}': write {_FORMS}")
        folder = parsed["folder"] or ""
        problems = _problems(folder, name)
        level = problems.level(int(parsed["level"]))
        if parsed["problem"] is None:
            example = _name(folder, level[0]) if level else f"{name}/1"
            raise UserError(
                f"'{name}' is a group: name one of its tasks, such as {example}; "
                f"`kernelevolve sweep tasks={name} sweep.dir=FOLDER` works through all"
            )
        problem = _chosen(level, parsed["problem"], f"level{parsed['level']} of {problems.place}")
        found = _name(folder, problem)
        source = problem.source()
        return Task(name=found, source=source, allow_aten=declared_rule(source, found))


def problem_of(name: str) -> tuple[int, int] | None:
    """Return the level and the number of the problem that a full name means; None if it means none."""
    parsed = _NAME.fullmatch(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
    number = re.match(r"\d+", parsed["problem"] or "") if parsed else None
    return (int(parsed["level"]), int(number[0])) if parsed and number else None


def _problems(folder: str, name: str) -> Problems:
    """Return the problems of a folder; without one, those of KERNELBENCH_DIR or of the data set."""
    if folder:
        place = Path(folder).expanduser()
        if not place.is_dir():
            raise UserError(f"{name}: there is no folder {place}; write {_FORMS}")
        return Clone(place)
    variable = os.environ.get(VARIABLE, "")
    if variable:
        try:
            return Clone(Path(variable).expanduser())
        except UserError as error:
            raise UserError(f"{VARIABLE}: {error}") from error
    if data_set_readable():
        return DataSet()
    raise UserError(
        f"{name}: KernelBench's problems are not here: set {VARIABLE} to a clone of {REPOSITORY}, "
        "or read the published data set (pip install 'kernelevolve[kernelbench]')"
    )


def _chosen(level: Sequence[Problem], wanted: str, place: str) -> Problem:
    """Return the problem with a number or a name."""
    wanted = wanted.removesuffix(".py")
    fitting = [p for p in level if wanted == p.stem or (wanted.isdecimal() and int(wanted) == p.number)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(f"{place}: {wanted} fits {', '.join(p.stem for p in fitting)}: write one of them in full")
    if not level:
        raise UserError(f"{place} has no problem: there is no file NUMBER_NAME.py in it")
    if wanted.isdecimal():
        there = f"it has {len(level)}, with numbers from {level[0].number} to {level[-1].number}"
    else:
        titles = {title: p.stem for p in level for title in (p.stem, p.stem.partition("_")[2])}
        near = get_close_matches(wanted, titles, n=1)
        there = f"did you mean {titles[near[0]]}?" if near else f"they are called like {level[0].stem}"
    raise UserError(f"{place} has no problem {wanted}: {there}")


def _name(folder: str, problem: Problem) -> str:
    return f"{PREFIX}{folder}{'/' if folder else ''}level{problem.level}/{problem.stem}"


def _summary(problem: Problem) -> str:
    try:
        return summary_of(problem.source())
    except UserError as error:
        return str(error)
