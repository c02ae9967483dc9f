"""A task's answers, and a candidate's results held against them, in this process: the checks of the pipeline without its processes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from evaluators.correctness.checker import Checker
from evaluators.correctness.ledger import Ledger
from evaluators.correctness.reference.computing import Computing
from evaluators.correctness.reference.data import Reference, read_reference
from evaluators.runtime import tensors
from evaluators.runtime.cpu.arena import Arena, Slots
from evaluators.runtime.cpu.runner import Returned, Seat
from evaluators.runtime.elements import Elements, Held
from evaluators.runtime.layout import layout_of
from evaluators.runtime.parameters import OtherParameters, built_by_names, perturbed
from evaluators.runtime.tensors import Described
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.task import Task
from kernelevolve.tasks.structure import Structure, rebuild_arguments
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
    computing = Computing(task, folder, {"trials": 2, "most_draws": 1, "draw_bytes": 1 << 20, "derived": DERIVED})
    with torch.no_grad():
        own = computing.own()
        assert "error" not in own, own["error"]
        derived = computing.derived(own["cases"][0])
    assert "error" not in derived, derived["error"]
    probe = {"seconds": 1e-3, "variants": 0, "growth_bytes": 0}
    told = {**derived, "cases": [*own["cases"], *derived["cases"]], "init": own["init"], "probe": probe}
    (folder / "told.json").write_text(json.dumps(told))
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
    with torch.no_grad():
        seat = _InProcess(kernel, task.seed, reference.other.parameters if reference.other else None)
        try:
            Checker(reference, task.tolerance).check(seat, ledger)
        except FailedError as error:
            return error.failure
        finally:
            seat.arena.close()
    return None


class _InProcess(Seat):
    """Its calls are made here."""

    def __init__(self, kernel: str, seed: int, others: OtherParameters | None) -> None:
        self.stage = "correctness"
        self.arena = Arena(1 << 24)
        self._seed, self._others = seed, others
        self._first: nn.Module | None = None
        self._class = _loaded(kernel).ModelNew
        self._tensors: dict[int, torch.Tensor] = {}
        self.order(do="build")

    def order(self, **order: Any) -> tuple[Returned, ...]:
        if order["do"] == "build":
            torch.manual_seed(self._seed)
            self._model: nn.Module = self._class()
        elif order["do"] == "mode":
            self._model.train(order["train"])
        return ()

    def other_parameters(self, other: str) -> bool:
        if self._first is not None:
            self._model, self._first = self._first, None
        if not other:
            return True
        assert self._others is not None
        if other == "named":
            torch.manual_seed(self._others.seed)
            found = built_by_names(self._class(), self._others)
        else:
            with perturbed(self._others) as state:
                torch.manual_seed(self._others.seed)
                found = state.mend(self._class())
        if found is not None:
            self._first, self._model = self._model, found
        return found is not None

    def lay_out(self, inputs: Sequence[Mapping[str, Any]], slots: int, structure: Structure | None = None) -> None:
        layout = layout_of(inputs, slots, structure)
        assert layout.total_bytes <= self.arena.capacity
        self.slots = Slots(self.arena.memory, layout)

    def call(self, slots: Sequence[int]) -> tuple[Returned, ...]:
        self._tensors, told = {}, []
        nested = self.laid_out.layout.structure
        for slot in slots:
            leaves = self.inputs(slot)
            arguments = leaves if nested is None else rebuild_arguments(nested, leaves)
            result = tensors.taken_apart(self._model(*arguments))
            described = tuple(Described(**tensors.describe(t)) for t in result.tensors)
            self._tensors |= {id(d): t for d, t in zip(described, result.tensors, strict=True)}
            told.append(Returned(outputs=described, values=tuple(result.values), structure=result.structure))
        return tuple(told)

    def input_memory(self) -> list[tuple[int, int]]:
        return self.arena.where_in(os.getpid())

    def look_at_fallback(self) -> None:
        pass

    def read(self, output: Described, address: int | None = None) -> Elements:
        del address
        return Held(tensors.comparable(self._tensors[id(output)]))


def _loaded(kernel: str) -> ModuleType:
    module = ModuleType("candidate")
    exec(compile(kernel, "candidate.py", "exec"), module.__dict__)
    return module
