"""KernelBench's problems: in a clone of its repository, or in the data set that its authors publish."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kernelevolve.core.errors import UserError
from kernelevolve.core.record import Record
from kernelevolve.tasks.files import read_source
from kernelevolve.tasks.form import check_source

REPOSITORY = "https://github.com/ScalingIntelligence/KernelBench"
DATA_SET = "ScalingIntelligence/KernelBench"
"""The name of the published data set. Its splits are called `level_1`, `level_2`, ..."""
_SPLIT = "level_"
_FOLDER = "KernelBench"
"""The folder of a clone that holds the levels."""


class Problem(Record):
    """One problem. Its source is read when it is asked for."""

    level: int
    number: int
    """The number within the level, from 1 on."""
    stem: str
    """The name of its file without the ending: `36_RMSNorm_`."""
    path: Path | None = None
    """The file; None if the text is there already."""
    text: str = ""

    def source(self) -> str:
        """Return the checked source. Raises UserError if it cannot be read or is no task."""
        if self.path is not None:
            return read_source(self.path)
        check_source(self.text, f"problem {self.stem} of level {self.level}")
        return self.text


class Problems(ABC):
    """A collection of problems in levels."""

    place: str
    """Where the problems are, for messages."""

    @abstractmethod
    def levels(self) -> tuple[int, ...]:
        """Return the levels in order. There is at least one."""

    @abstractmethod
    def of(self, level: int) -> tuple[Problem, ...]:
        """Return the problems of an existing level by number."""

    def level(self, level: int) -> tuple[Problem, ...]:
        """Return the problems of a level by number. Raises UserError if there is no such level."""
        levels = self.levels()
        if level not in levels:
            raise UserError(f"{self.place} has no level{level}: it has {', '.join(f'level{n}' for n in levels)}")
        return self.of(level)


class Clone(Problems):
    """The problems in a folder: a clone of KernelBench, or its folder with the levels."""

    def __init__(self, folder: Path) -> None:
        """Find the levels. Raises UserError if the folder has none."""
        self.place = str(folder)
        self._levels: dict[int, Path] = {}
        for base in (folder / _FOLDER, folder):
            found = {_number(path.name): path for path in base.glob("level*") if path.is_dir()}
            self._levels = {number: path for number, path in sorted(found.items()) if number}
            if self._levels:
                return
        missing = "is not there" if not folder.is_dir() else "has no level of KernelBench (KernelBench/level1/*.py)"
        raise UserError(f"{folder} {missing}: name a clone of {REPOSITORY}")

    def levels(self) -> tuple[int, ...]:
        return tuple(self._levels)

    def of(self, level: int) -> tuple[Problem, ...]:
        found = []
        for path in self._levels[level].glob("*_*.py"):
            number = path.name.partition("_")[0]
            if number.isdecimal():
                found.append(Problem(level=level, number=int(number), stem=path.stem, path=path))
        return tuple(sorted(found, key=lambda problem: (problem.number, problem.stem)))


class DataSet(Problems):
    """The published data set, through the library `datasets`, which downloads it once."""

    place = f"the data set {DATA_SET}"

    def levels(self) -> tuple[int, ...]:
        return _split_levels()

    def of(self, level: int) -> tuple[Problem, ...]:
        return _rows(level)


def data_set_readable() -> bool:
    """Return whether the library that reads the data set is installed. It is not imported."""
    return find_spec("datasets") is not None


def _number(name: str) -> int:
    found = re.fullmatch(r"level(\d+)", name)
    return int(found[1]) if found else 0


@lru_cache(maxsize=1)
def _split_levels() -> tuple[int, ...]:
    names = _asked(lambda datasets: datasets.get_dataset_split_names(DATA_SET))
    return tuple(sorted(int(name.removeprefix(_SPLIT)) for name in names if name.startswith(_SPLIT)))


@lru_cache(maxsize=8)
def _rows(level: int) -> tuple[Problem, ...]:
    rows = _asked(lambda datasets: datasets.load_dataset(DATA_SET, split=f"{_SPLIT}{level}"))
    problems = [
        Problem(level=level, number=row["problem_id"], stem=row["name"].removesuffix(".py"), text=row["code"])
        for row in rows
    ]
    return tuple(sorted(problems, key=lambda problem: problem.number))


def _asked(question: Any) -> Any:
    import datasets

    try:
        return question(datasets)
    except (OSError, ValueError) as error:  # The library's own errors derive from these.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"the data set {DATA_SET} cannot be read ({reason}): set KERNELBENCH_DIR to a clone of {REPOSITORY}"
        ) from error
