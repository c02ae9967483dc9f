"""What a trusted runner computes of a task: a first look at it, then its reference outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.correctness.reference.probe import probe
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import load_module

if TYPE_CHECKING:
    from evaluators.correctness.reference.computing import Computing


class ReferenceJob:
    """Methods take and return plain values. Each raises UserError where the task is at fault."""

    def __init__(self, task: str) -> None:
        """`task`: the `Task` as JSON."""
        self._task = Task.model_validate_json(task)
        self._computing: Computing | None = None

    def probe(self) -> dict[str, Any]:
        """The fields of `Probe`."""
        return probe(load_module(self._task)).model_dump()

    def own(self, folder: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The task's own cases, computed into `folder`; `settings`: the fields of `AnswerSettings`."""
        from evaluators.correctness.reference.computing import Computing  # With torch.export, which takes seconds.

        self._computing = Computing(self._task, Path(folder), settings)
        return self._computing.own()

    def derived(self, main: Mapping[str, Any]) -> dict[str, Any]:
        """Cases beyond the task's own; `main`: what `own` returned of the first one."""
        if self._computing is None:
            raise ValueError("derived cases before the task's own")
        return self._computing.derived(main)
