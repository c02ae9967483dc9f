"""The arguments of a call, made anew for each, since a call may change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluators.correctness.reference.runs import widened
from evaluators.runtime import tensors
from kernelevolve.tasks.loading import LoadedTask
from kernelevolve.tasks.structure import Structure, rebuild_arguments


class SavedArguments:
    """Fresh copies of a case's inputs, which lie in files."""

    def __init__(
        self,
        loaded: LoadedTask,
        folder: Path,
        prefix: str,
        described: Sequence[Mapping[str, Any]],
        nesting: Structure,
    ) -> None:
        self._classes = vars(loaded.module)
        self._folder, self._prefix, self._described = folder, prefix, described
        self._nesting = nesting

    def __call__(self, wide: bool = False) -> list[Any]:
        """The arguments of forward."""
        return self.nested(self.leaves(wide))

    def leaves(self, wide: bool = False) -> list[Any]:
        found = [tensors.load(m, self._folder / f"{self._prefix}{i}") for i, m in enumerate(self._described)]
        return [widened(x) for x in found] if wide else found

    def nested(self, leaves: Sequence[Any]) -> list[Any]:
        return rebuild_arguments(self._nesting, leaves, self._classes)


class DrawnArguments:
    """A draw itself, as the task's function has returned it, once."""

    def __init__(self, drawn: Sequence[Any], given: Sequence[Any], copies: SavedArguments) -> None:
        self._drawn, self._given, self._copies = list(drawn), list(given), copies

    def leaves(self, wide: bool = False) -> list[Any]:
        """The draw, then copies to tell by what has changed."""
        found, self._drawn = self._drawn, self._copies.leaves(wide)
        return found

    def nested(self, leaves: Sequence[Any]) -> list[Any]:
        del leaves
        return self._given


def write_arguments(values: Sequence[Any], folder: Path, prefix: str) -> list[dict[str, Any]]:
    """One file each; how to read it."""
    return [tensors.save(value, folder / f"{prefix}{i}") for i, value in enumerate(values)]
