"""The arguments of a call of the reference. Each call gets fresh ones, since it may change them in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluators.correctness.reference.runs import widened
from evaluators.runtime import tensors
from kernelevolve.tasks.loading import LoadedTask
from kernelevolve.tasks.structure import Structure, rebuild_arguments


class SavedArguments:
    """Loads fresh copies of a case's inputs from files."""

    def __init__(
        self,
        loaded: LoadedTask,
        folder: Path,
        prefix: str,
        described: Sequence[Mapping[str, Any]],
        nesting: Structure,
    ) -> None:
        """Remember where the inputs are.

        Args:
            loaded: The task.
            folder: The folder of the files.
            prefix: The start of the files' names; the index of the input follows.
            described: How to read each input, from `write_arguments`.
            nesting: The structure of the list of arguments.
        """
        self._classes = vars(loaded.module)
        self._folder, self._prefix, self._described = folder, prefix, described
        self._nesting = nesting

    def __call__(self, wide: bool = False) -> list[Any]:
        """Return the arguments of forward; with `wide`, floating tensors are float64."""
        return self.nested(self.leaves(wide))

    def leaves(self, wide: bool = False) -> list[Any]:
        """Return the tensors and plain values of the arguments; with `wide`, floating tensors are float64."""
        found = [tensors.load(m, self._folder / f"{self._prefix}{i}") for i, m in enumerate(self._described)]
        return [widened(x) for x in found] if wide else found

    def nested(self, leaves: Sequence[Any]) -> list[Any]:
        """Return the arguments that consist of these leaves."""
        return rebuild_arguments(self._nesting, leaves, self._classes)


class DrawnArguments:
    """Gives the objects that the task's own function returned, in which inputs may share memory, to one call."""

    def __init__(self, drawn: Sequence[Any], given: Sequence[Any], copies: SavedArguments) -> None:
        """Remember one draw of inputs.

        Args:
            drawn: The leaves of the arguments.
            given: The arguments themselves, which consist of `drawn`.
            copies: Copies of the same inputs.
        """
        self._drawn, self._given, self._copies = list(drawn), list(given), copies

    def leaves(self, wide: bool = False) -> list[Any]:
        """Return the drawn leaves on the first call, and fresh copies afterwards, to detect what has changed."""
        found, self._drawn = self._drawn, self._copies.leaves(wide)
        return found

    def nested(self, leaves: Sequence[Any]) -> list[Any]:
        """Return the drawn arguments; `leaves` are those that they consist of."""
        del leaves
        return self._given


def write_arguments(values: Sequence[Any], folder: Path, prefix: str) -> list[dict[str, Any]]:
    """Write each value to a file of its own.

    Args:
        values: The leaves of the arguments.
        folder: The folder to write to.
        prefix: The start of the files' names; the index of the value follows.

    Returns:
        How to read each file, for `tensors.load`.
    """
    return [tensors.save(value, folder / f"{prefix}{i}") for i, value in enumerate(values)]
