"""A run's folder: what says which run it is, and where everything is found."""

from __future__ import annotations

import itertools
import json
import os
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

FORMAT = 6


class RunFolder:
    """`config.yaml` (resolved), `task.json`, `graph.sqlite`, `best/`, `run.json`.

    Where `run.store` names a folder, the graph lies there, beside those of other runs, and `task.json` says under which name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.task_file = path / "task.json"
        self.summary_file = path / "run.json"
        self.best = path / "best"

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def create(self, config: Mapping[str, Any], task: Task, store: Path | None = None) -> None:
        """Make the folder and write what the run is. `store`: where its graph will lie, if not here.

        Raises UserError where the folder is not empty, or there can be no graph in the store.
        """
        self.check_free()
        graph = {} if store is None else {"graph": _reserved(store.absolute(), self.name)}
        self.path.mkdir(parents=True, exist_ok=True)
        head = {"format": FORMAT, "kernelevolve": __version__, **graph, "task": task.model_dump(mode="json")}
        write_json(self.task_file, head)
        write_text(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))

    def graph(self) -> tuple[Path, str]:
        """(folder, name) of its graph."""
        try:
            named = Path(json.loads(self.task_file.read_text())["graph"])
        except (OSError, ValueError, KeyError, TypeError):
            return self.path, GRAPH
        return named.parent, named.stem

    def check_free(self) -> None:
        """Raises UserError where the folder holds a run or anything else, or cannot be one."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            return
        if self.config_file.exists():
            raise UserError(
                f"{self.path} holds a run: `kernelevolve resume {self.path}` goes on with it, or choose another run.dir"
            )
        if self.path.exists():
            raise UserError(f"{self.path} is not empty: choose another run.dir")
        check_possible("run.dir", self.path)

    def load(self) -> tuple[dict[str, Any], Task]:
        """The configuration and the task of an existing run. Raises UserError where there is none, or of another version."""
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
    """Raises UserError where there can be no such folder because something on its way is a file."""
    for place in (folder.absolute(), *folder.absolute().parents):
        if place.is_dir():
            return
        if place.exists():
            raise UserError(f"{setting}={folder}: {place} is a file")


def _reserved(store: Path, name: str) -> str:
    """A database in the store that no other run has, of the run's name or the next one like it."""
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


def default_folder(task_name: str, now: datetime | None = None) -> Path:
    """`runs/<task>-<time>`, one that does not exist yet."""
    stem = f"{task_name.replace('/', '-')}-{now or datetime.now():%Y%m%d-%H%M%S}"
    candidate = Path("runs") / stem
    number = 2
    while candidate.exists():
        candidate = Path("runs") / f"{stem}-{number}"
        number += 1
    return candidate
