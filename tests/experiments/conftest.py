"""Folders of runs, as `kernelevolve run` leaves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kernelevolve import config
from kernelevolve.core.task import Task
from kernelevolve.report.folder import RunFolder
from kernelevolve.store.sqlite import SqliteStore
from tests.conformance.records import make_entry

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes a run's folder whose kernels had these speedups, one each second."""

    def make(name: str, fitnesses: Sequence[float], *overrides: str, task: str = "task") -> Path:
        folder = RunFolder(tmp_path / name)
        folder.create(config.dump(config.load(["task=x", *overrides])), Task(name=task, source=f"# {task}\n"))
        store = SqliteStore(folder.path)
        for step, fitness in enumerate(fitnesses):
            store.insert([make_entry(step, fitness)])
        if fitnesses:  # A known kernel proposed again is no evaluation.
            store.insert([make_entry(len(fitnesses), fitnesses[0], kernel=0, cached=True)])
        store.close()
        return folder.path

    return make
