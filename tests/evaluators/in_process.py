"""A task's reference outputs, and a kernel's results held against them, in this process: correctness without processes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from evaluators.correctness.checker import Checker
from evaluators.correctness.ledger import Ledger
from evaluators.correctness.reference.computing import ReferenceComputation
from evaluators.correctness.reference.data import MANIFEST, Reference, read_reference
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.task import Task
from tests.evaluators.simulated_device import SimulatedRunner
from tests.evaluators.written import Written

Of = Callable[[str], tuple[Task, Reference]]
"""A task by its name, and its data."""

DERIVED = {
    "shapes": 4,
    "values": 6,
    "nonfinite": True,
    "seed": 0,
    "memory_factor": 1.5,
    "export_seconds": 60.0,
}


def reference_in(folder: Path, task: Task) -> Reference:
    """Computed into `folder`."""
    folder.mkdir()
    computing = ReferenceComputation(
        task, folder, {"trials": 2, "max_draws": 1, "draw_bytes": 1 << 20, "derived": DERIVED}
    )
    with torch.no_grad():
        own = computing.own()
        assert "error" not in own, own["error"]
        derived = computing.derived(own["cases"][0])
    assert "error" not in derived, derived["error"]
    probe = {"seconds": 1e-3, "variants": 0, "growth_bytes": 0}
    told = {**derived, "cases": [*own["cases"], *derived["cases"]], "init": own["init"], "probe": probe}
    (folder / MANIFEST).write_text(json.dumps(told))
    return read_reference(folder)


def kept_references(written: Mapping[str, Written], folders: pytest.TempPathFactory) -> Of:
    """Of these, computed when one is first asked for."""
    known: dict[str, tuple[Task, Reference]] = {}

    def found(name: str) -> tuple[Task, Reference]:
        if name not in known:
            task = Task(name=name.replace(" ", "_"), source=written[name].source("Model"))
            known[name] = task, reference_in(folders.mktemp("references") / "data", task)
        return known[name]

    return found


def copy_of(task: Task) -> str:
    """The reference as a kernel."""
    return re.sub(r"\bModel\b", "ModelNew", task.source)


def failure_of(reference: Reference, task: Task, kernel: str, ledger: Ledger | None = None) -> Failure | None:
    """Why a kernel in Python is wrong; None where it is right."""
    ledger = ledger or Ledger()
    ledger.begin(reference)
    others = reference.other.parameters.model_dump() if reference.other else None
    with torch.no_grad(), SimulatedRunner() as runner:
        try:
            runner.load_kernel(kernel, task, [], others=others)
            runner.build()
            Checker(reference, task.tolerance).check(runner, ledger)
        except FailedError as error:
            return error.failure
    return None
