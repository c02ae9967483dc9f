"""The folder of a sweep: what it does, and the rows of the tasks that are done."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kernelevolve import __version__
from kernelevolve.core.component import keys
from kernelevolve.core.errors import UserError
from kernelevolve.report.files import write_json
from kernelevolve.report.folder import check_possible, file_stem
from kernelevolve.sweeping.row import Row

FORMAT = 1
"""The version of the files. It is raised with every incompatible change."""


class SweepFolder:
    """The folder of a sweep.

    `sweep.json` holds the settings of its runs and the tasks with the names of their files, `results.jsonl` a line for each task that
    is done, `tasks/` the tasks as files, `runs/` the folder of each task's run, `logs/` what the runs printed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._head = path / "sweep.json"
        self._results = path / "results.jsonl"
        self._stems: dict[str, str] = {}

    @contextmanager
    def open(self, settings: Mapping[str, Any], tasks: Sequence[str]) -> Iterator[None]:
        """Create the folder or continue with it, and keep other sweeps out of it for the duration of the block.

        Args:
            settings: The settings of the runs as plain data.
            tasks: The names of the tasks. They may be others than before.

        Raises:
            UserError: The folder holds something else, or a sweep with other settings, or another sweep uses it.
        """
        if self.path.is_dir() and any(self.path.iterdir()) and not self._head.exists():
            raise UserError(f"{self.path} is not empty and holds no sweep: choose another sweep.dir")
        check_possible("sweep.dir", self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another sweep uses {self.path}: wait for it to end, or choose another sweep.dir"
                ) from None
            self._begin(settings, tasks)
            yield
        finally:
            os.close(descriptor)

    def task_file(self, task: str) -> Path:
        """Return the file of a task."""
        return self.path / "tasks" / f"{self._stems[task]}.py"

    def run(self, task: str) -> Path:
        """Return the folder of a task's run."""
        return self.path / "runs" / self._stems[task]

    def log(self, task: str) -> Path:
        """Return the file with what a task's run printed."""
        return self.path / "logs" / f"{self._stems[task]}.txt"

    def kernel(self, task: str) -> str:
        """Return the file of a task's best kernel, relative to this folder."""
        return f"runs/{self._stems[task]}/best/kernel.py"

    def remove_run(self, task: str) -> None:
        """Remove the folder of a task's run, if there is one."""
        if self.run(task).exists():
            shutil.rmtree(self.run(task))

    def rows(self) -> dict[str, Row]:
        """Return the rows by task, the last one of each.

        A line that was being written when the machine stopped is removed from the file.

        Raises:
            UserError: A line in the middle is damaged.
        """
        found: dict[str, Row] = {}
        lines = self._results.read_bytes().splitlines(keepends=True) if self._results.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                row = Row.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError, ValidationError) as error:
                if number == len(lines) and not line.endswith(b"\n"):
                    os.truncate(self._results, sum(map(len, lines[:-1])))
                    break
                raise UserError(f"{self._results}, line {number} is damaged: remove the line") from error
            found[row.task] = row
        return found

    def in_order(self, rows: Mapping[str, Row]) -> tuple[Row, ...]:
        """Return the rows in the order in which the folder got to know their tasks."""
        return tuple(rows[task] for task in self._stems if task in rows)

    def add(self, row: Row) -> None:
        """Append a row. It is on the disk when this returns."""
        with self._results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row.to_json()) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _begin(self, settings: Mapping[str, Any], tasks: Sequence[str]) -> None:
        if self._head.exists():
            try:
                head = json.loads(self._head.read_text())
                before, self._stems = head["settings"], dict(head["tasks"])
                if head["format"] != FORMAT:
                    raise UserError(
                        f"{self.path} was written by kernelevolve {head['kernelevolve']}: choose another sweep.dir"
                    )
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UserError(f"{self._head} is damaged: choose another sweep.dir") from error
            _check_same(before, json.loads(json.dumps(settings)), self.path)
        taken = set(self._stems.values())
        for task in tasks:
            if task not in self._stems:
                self._stems[task] = _free(file_stem(task.removesuffix(".py")), taken)
                taken.add(self._stems[task])
        for name in ("tasks", "runs", "logs"):
            (self.path / name).mkdir(exist_ok=True)
        head = {"format": FORMAT, "kernelevolve": __version__, "settings": settings, "tasks": self._stems}
        write_json(self._head, head)


def _free(stem: str, taken: Iterable[str]) -> str:
    """Return a name that is not taken, whatever the case of its letters."""
    lower = {name.lower() for name in taken}
    stem = stem[:120]
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(lower) + 2))
    return next(name for name in numbered if name.lower() not in lower)


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise UserError that names the first setting which differs."""
    for key in dict.fromkeys([*keys(before), *keys(now)]):
        old, new = _at(before, key), _at(now, key)
        if old != new and not (isinstance(old, dict) and isinstance(new, dict)):
            raise UserError(
                f"{path} holds a sweep with {key}={old}, not {new}: give the same settings, or another sweep.dir"
            )


def _at(data: Any, key: str) -> Any:
    for part in key.split("."):
        data = data.get(part) if isinstance(data, Mapping) else None
    return data
