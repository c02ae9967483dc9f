"""The job that a trusted runner process does for a task: probe it, then compute its reference outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.correctness.reference.probe import probe
from kernelevolve.core.task import Task
from kernelevolve.tasks.loading import load_module

if TYPE_CHECKING:
    from evaluators.correctness.reference.computing import ReferenceComputation


class ReferenceJob:
    """Computes the reference data of one task. Methods take and return JSON values, and raise UserError where the task is at fault."""

    def __init__(self, task: str) -> None:
        """Prepare the job for a task.

        Args:
            task: The `Task` as JSON.
        """
        self._task = Task.model_validate_json(task)
        self._computing: ReferenceComputation | None = None

    def probe(self, device: str = "cpu") -> dict[str, Any]:
        """Probe the task on a type of device and return the fields of `Probe`."""
        return probe(load_module(self._task), device).model_dump()

    def own(self, folder: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the task's own cases.

        Args:
            folder: The folder to write the data to.
            settings: The fields of `ReferenceSettings`.

        Returns:
            The part of the manifest about these cases, or a message; see `ReferenceComputation`.
        """
        # Imported here, since it imports torch.export, which takes seconds.
        from evaluators.correctness.reference.computing import ReferenceComputation

        self._computing = ReferenceComputation(self._task, Path(folder), settings)
        return self._computing.own()

    def derived(self, main: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the cases that are derived from the task's own.

        Args:
            main: The first case that `own` returned.

        Returns:
            The part of the manifest about these cases, or a message; see `ReferenceComputation`.
        """
        if self._computing is None:
            raise ValueError("call own before derived")
        return self._computing.derived(main)
