"""The reference data of a task on this machine: the inputs and reference outputs of every case, in files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from evaluators.correctness.inputs.checks import OWN, VARIANTS
from evaluators.correctness.reference.probe import Probe
from evaluators.correctness.uncertainty import Uncertainty
from evaluators.runtime import tensors
from evaluators.runtime.parameters import PerturbedParameters
from kernelevolve.tasks.structure import Plain, Structure

MANIFEST = "manifest.json"
"""The name of the file that describes the others in its folder."""


@dataclass(frozen=True)
class ReferenceOutputs:
    """PyTorch's own results and the float64 oracle, in files that no candidate can read."""

    folder: Path
    """The folder of the files."""
    prefix: str
    """The start of the files' names."""
    native: tuple[Mapping[str, Any], ...]
    """How to read PyTorch's own results: the tensors, as `tensors.comparable` converts them, then the floats, as tensors."""
    oracle: tuple[Mapping[str, Any], ...] | None
    """How to read the results in float64; None where results are exact, or the reference does not run in float64."""
    structure: str
    """The structure of the results, from `structure.described`."""
    forms: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """The (dtype, shape) of each tensor as it was returned."""
    values: tuple[Plain, ...] = ()
    """The results that are plain values."""
    uncertainties: tuple[Mapping[str, Any], ...] = ()
    """The fields of the `Uncertainty` of each result: `typical`, `rms`, and how to read `places` and `values`."""
    fresh: tuple[bool, ...] = ()
    """For each returned tensor, whether its memory was its own."""
    roundings: int = 0
    """The number of runs with other roundings from which `doubts` were computed."""
    _mapped: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, compare=False, repr=False)

    def output(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (PyTorch's own result, oracle) of one output, as files that are mapped once; they must not be written to."""
        if position not in self._mapped:
            native = tensors.load(self.native[position], self.folder / f"{self.prefix}native{position}")
            oracle = native
            if self.oracle is not None:
                oracle = tensors.load(self.oracle[position], self.folder / f"{self.prefix}oracle{position}")
            self._mapped[position] = native, oracle
        return self._mapped[position]

    def uncertainty(self, position: int) -> Uncertainty:
        """Return how far rounding alone moves one output, as mapped files; they must not be written to."""
        stored = self.uncertainties[position]
        if "places" not in stored:
            return Uncertainty(typical=stored["typical"], rms=stored["rms"])
        places, values = (
            tensors.load(stored[name], self.folder / f"{self.prefix}{name}{position}") for name in ("places", "values")
        )
        return Uncertainty(places, values, stored["typical"], stored["rms"])


@dataclass(frozen=True)
class Effects:
    """The inputs that the reference changes in place."""

    positions: tuple[int, ...]
    """The indices of these inputs among the leaves of the arguments."""
    expected: ReferenceOutputs
    """The values of these inputs after the call."""


@dataclass(frozen=True)
class Later:
    """The results in evaluation mode after some calls, for a model that calls change or that differs in evaluation mode."""

    steps: int
    """The number of calls before."""
    expected: ReferenceOutputs
    """The results of a call afterwards."""


@dataclass(frozen=True)
class Other:
    """The results of a model with other parameters."""

    parameters: PerturbedParameters
    """How the parameters differ from the task's own."""
    expected: ReferenceOutputs
    """The results on the main inputs."""


@dataclass(frozen=True)
class Case:
    """One set of inputs with its reference outputs."""

    name: str
    """The start of the names of its files."""
    variant: str | None
    """The input variant that it is for; None for the main inputs and derived ones."""
    trial: int
    """The number of the seed; 0 is the first."""
    label: str
    """The name of the case in messages."""
    folder: Path
    """The folder of its files."""
    inputs: tuple[Mapping[str, Any], ...]
    """How to read each leaf of the arguments."""
    nesting: Structure
    """The structure of the list of arguments."""
    draws: int
    """The number of sets of values of the same shapes for timed calls; the reference outputs are those of the first."""
    expected: ReferenceOutputs
    """The reference outputs."""
    effects: Effects | None
    """The inputs that the reference changes in place; None where it changes none."""
    later: Later | None
    """The results in evaluation mode after some calls; None where they are not checked."""
    check: str
    """The name of the check that it belongs to."""
    _mapped: dict[int, list[Any]] = field(default_factory=dict, compare=False, repr=False)

    def load(self, draw: int = 0) -> list[Any]:
        """Return the leaves of the arguments of forward, as files that are mapped once; they must not be written to."""
        if draw not in self._mapped:
            self._mapped[draw] = [
                tensors.load(m, self.folder / f"{self.name}.draw{draw}.in{i}") for i, m in enumerate(self.inputs)
            ]
        return self._mapped[draw]


@dataclass(frozen=True)
class Reference:
    """The reference data of one task on disk."""

    folder: Path
    """The folder of the data."""
    cases: tuple[Case, ...]
    """All cases, the one of the main inputs first."""
    notes: tuple[str, ...]
    """Sentences about what was derived from the task's inputs, and why not more."""
    skipped: Mapping[str, Sequence[str]]
    """The derived inputs that were skipped: the name of a check -> the reasons."""
    timed_out: frozenset[str]
    """The names of the checks of which something was skipped because time ran out."""
    other: Other | None
    """The results with other parameters; None where there are no parameters, or no usable results."""
    init: Sequence[Mapping[str, Any]] | None
    """The arguments of the constructor, from `tensors.encode`; None where they cannot be encoded."""
    probe: Probe
    """The probe of the task."""

    @property
    def main(self) -> Case:
        """The case of the main inputs."""
        return self.cases[0]

    @property
    def variants(self) -> dict[str, Case]:
        """The cases of the input variants, by the name of the variant."""
        return {case.variant: case for case in self.cases if case.variant is not None}

    def touch(self) -> None:
        """Mark the data as used, so that it is kept. Raises FileNotFoundError where it has been removed."""
        os.utime(self.folder)


def read_reference(folder: Path) -> Reference:
    """Read the reference data in a folder. Raises FileNotFoundError where there is none."""
    manifest = json.loads((folder / MANIFEST).read_text())
    return Reference(
        folder=folder,
        cases=tuple(_case(folder, case) for case in manifest["cases"]),
        notes=tuple(manifest["notes"]),
        skipped=manifest["skipped"],
        timed_out=frozenset(manifest["timed_out"]),
        other=_other(folder, manifest.get("other")),
        init=manifest["init"],
        probe=Probe.model_validate(manifest["probe"]),
    )


def _case(folder: Path, stored: Mapping[str, Any]) -> Case:
    name, later, after = stored["case"], stored.get("later"), stored.get("after")
    own = VARIANTS if stored["variant"] is not None else OWN
    return Case(
        name=name,
        variant=stored["variant"],
        trial=stored["trial"],
        label=stored["label"],
        folder=folder,
        inputs=tuple(stored["inputs"]),
        nesting=Structure.model_validate(stored["nesting"]),
        draws=stored["draws"],
        expected=_outputs(folder, f"{name}.", stored),
        effects=Effects(tuple(after["positions"]), _outputs(folder, f"{name}.after.", after)) if after else None,
        check=stored.get("check", own),
        later=Later(later["steps"], _outputs(folder, f"{name}.later.", later)) if later else None,
    )


def _other(folder: Path, stored: Mapping[str, Any] | None) -> Other | None:
    if stored is None:
        return None
    return Other(PerturbedParameters.model_validate(stored["parameters"]), _outputs(folder, "other.", stored))


def _outputs(folder: Path, prefix: str, stored: Mapping[str, Any]) -> ReferenceOutputs:
    oracle = stored["oracle"]
    return ReferenceOutputs(
        folder,
        prefix,
        tuple(stored["native"]),
        None if oracle is None else tuple(oracle),
        stored["structure"],
        tuple((dtype, tuple(shape)) for dtype, shape in stored["forms"]),
        tuple(stored["values"]),
        tuple(stored["doubts"]),
        tuple(stored.get("fresh", ())),
        stored.get("roundings", 0),
    )
