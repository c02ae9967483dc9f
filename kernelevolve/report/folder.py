"""The folder of a run and the files in it."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kernelevolve import __version__
from kernelevolve.core.errors import UserError
from kernelevolve.core.task import Task
from kernelevolve.report.files import write_json, write_text
from kernelevolve.store.lock import lock_file
from kernelevolve.store.schema import GRAPH, database_of

FORMAT = 7
"""The version of the files. It is raised with every incompatible change."""


class RunFolder:
    """The folder of a run: `config.yaml` (resolved), `task.json`, `graph.sqlite`, `best/` and `run.json`.

    If `run.store` names a folder, the graph lies there together with those of other runs, and `task.json` holds its
    path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.task_file = path / "task.json"
        self.summary_file = path / "run.json"
        self.best = path / "best"

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.path.resolve().name

    def create(self, config: Mapping[str, Any], task: Task, store: Path | None = None) -> None:
        """Create the folder and write the configuration and the task.

        Args:
            config: The configuration as plain data.
            task: The task.
            store: The folder of the graph; None: this folder.

        Raises:
            UserError: The folder is not empty, or the graph cannot be created in the store.
        """
        self.check_free()
        graph = {} if store is None else {"graph": _reserved(store.absolute(), self.name)}
        self.path.mkdir(parents=True, exist_ok=True)
        head = {"format": FORMAT, "kernelevolve": __version__, **graph, "task": task.model_dump(mode="json")}
        write_json(self.task_file, head)
        write_text(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def graph(self) -> tuple[Path, str]:
        """Return the folder and the name of the run's graph."""
        try:
            named = Path(json.loads(self.task_file.read_text())["graph"])
        except (OSError, ValueError, KeyError, TypeError):
            return self.path, GRAPH
        return named.parent, named.stem

    def check_free(self) -> None:
        """Raise UserError if the folder holds a run or anything else, or cannot be created."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            return
        if self.config_file.exists():
            raise UserError(
                f"{self.path} holds a run: `kernelevolve resume {self.path}` continues it, or choose another run.dir"
            )
        if self.path.exists():
            raise UserError(f"{self.path} is not empty: choose another run.dir")
        check_possible("run.dir", self.path)

    def load(self) -> tuple[dict[str, Any], Task]:
        """Return the configuration and the task of an existing run.

        Raises:
            UserError: There is no run, it has another format, or a file is damaged.
        """
        if not self.task_file.is_file() or not self.config_file.is_file():
            raise UserError(f"{self.path} holds no run: `kernelevolve run task=... run.dir={self.path}` starts one")
        try:
            head = json.loads(self.task_file.read_text())
            config = yaml.safe_load(self.config_file.read_text())
            if head["format"] != FORMAT:
                raise UserError(
                    f"{self.path} was written by kernelevolve {head.get('kernelevolve', '?')} in format {head['format']}, "
                    f"and {__version__} reads format {FORMAT}: start a new run"
                )
            return dict(config), Task.model_validate(head["task"])
        except (ValueError, KeyError, TypeError, yaml.YAMLError, ValidationError) as error:
            raise UserError(
                f"{self.path}: config.yaml or task.json is damaged ({str(error).splitlines()[0]})"
            ) from error


def check_possible(setting: str, folder: Path) -> None:
    """Raise UserError if a folder cannot be created because a part of its path is a file.

    Args:
        setting: The key of the setting that names the folder, for the message.
        folder: The folder.
    """
    for parent in (folder.absolute(), *folder.absolute().parents):
        if parent.is_dir():
            return
        if parent.exists():
            raise UserError(f"{setting}={folder}: {parent} is a file; choose another path")


def _reserved(store: Path, name: str) -> str:
    """Reserve a new database in the store. Its name is that of the run, with a number if that is taken."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            found = database_of(store, name if number == 1 else f"{name}-{number}")
            with suppress(FileExistsError):
                os.close(os.open(lock_file(found), os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
                return str(found)
    except OSError as error:
        raise UserError(f"run.store={store}: {error.strerror}") from error
    raise AssertionError


def file_stem(task_name: str) -> str:
    """Return the name of a task as a part of the name of a file: `kernelbench:level1/19_ReLU` as `kernelbench-level1-19_ReLU`."""
    return re.sub(r"[^\w.+-]+", "-", task_name).strip("-.") or "task"


def default_folder(task_name: str, now: datetime | None = None) -> Path:
    """Return `runs/<task>-<time>`, with a number if that exists."""
    stem = f"{file_stem(task_name)}-{now or datetime.now():%Y%m%d-%H%M%S}"
    candidate = Path("runs") / stem
    number = 2
    while candidate.exists():
        candidate = Path("runs") / f"{stem}-{number}"
        number += 1
    return candidate
