"""Writing the reference outputs of a call: PyTorch's own results, the float64 oracle, and what is uncertain about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.correctness.bounds import room_of
from evaluators.correctness.inputs.suitability import another_function
from evaluators.correctness.reference.arguments import SavedArguments
from evaluators.correctness.reference.runs import CallResults, ReferenceRuns
from evaluators.correctness.reference.work import Work
from evaluators.correctness.uncertainty import uncertainty_of
from evaluators.runtime import tensors
from kernelevolve.core.task import Tolerance

MAIN_ROUNDINGS = 4
"""The number of runs with other roundings on the task's own inputs."""
ROUNDINGS = 2
"""The number of runs with other roundings on all other inputs."""
_ROUNDED_WORK = 50_000_000
"""The elements that each run with another rounding may read or write, on average; a quarter of it on inputs that are not the task's own."""
_ROUNDING_WORK = 15
"""The elements that are read or written to round one element of a result."""
_ATTENTION = "_scaled_dot_product_"
"""The prefix of the ATen operations that implement attention."""


class OutputsWriter:
    """Writes the reference outputs of one task's calls into one folder."""

    def __init__(self, folder: Path, tolerance: Tolerance, runs: ReferenceRuns) -> None:
        """Take the folder, the task's tolerance, and the runs with the task's own parameters."""
        self._folder = folder
        self._tolerance = tolerance
        self._runs = runs
        self.work: Work | None = None
        """The work of a run on the main inputs; None where that is unknown, so that nothing is run with other roundings."""
        self._float64 = True
        """Whether the reference computes the same function in float64."""

    def write(
        self,
        prefix: str,
        arguments: SavedArguments,
        native: CallResults,
        roundings: int,
        prepare: Callable[[nn.Module], None] | None = None,
        oracle: tuple[torch.Tensor, ...] | None = None,
        runs: ReferenceRuns | None = None,
        *,
        nonfinite: bool = False,
    ) -> dict[str, Any]:
        """Write the reference outputs of one call and return their manifest entry.

        Args:
            prefix: The start of the files' names.
            arguments: The source of the arguments.
            native: PyTorch's own results.
            roundings: The number of runs with other roundings; fewer are made where they are too much work.
            prepare: A function that is given the model before each call.
            oracle: The results in float64, where they were computed before.
            runs: The runs to use instead of those with the task's own parameters.
            nonfinite: Whether the arguments hold NaN and infinities.
        """
        runs = runs or self._runs
        if oracle is None:
            oracle = runs.wide(arguments, native, prepare)
        room = 0
        if oracle is not None and self.work is not None:
            cost = self.work.moved + _ROUNDING_WORK * self.work.written
            room = (roundings * _ROUNDED_WORK if roundings == MAIN_ROUNDINGS else _ROUNDED_WORK // 2) // max(cost, 1)
        count = min(roundings, room)
        others = runs.rounded(arguments, native, count, prepare)
        if nonfinite and self.work is not None and any(_ATTENTION in name for name in self.work.operations):
            others += runs.by_other_attention(arguments, native)
        if self._float64 and oracle is not None and another_function(native.results, oracle, others):
            self._float64 = False
        if not self._float64:
            oracle, others = None, []
        split = len(native.outputs)
        entry = {
            "structure": native.structure,
            "forms": native.forms,
            "fresh": native.fresh,
            "values": native.values,
            "roundings": len(others),
            **self._write(prefix, native.outputs, oracle and oracle[:split], [o[:split] for o in others]),
        }
        if native.changed:
            changed = tuple(native.changed.values())
            entry["after"] = {
                "positions": list(native.changed),
                "structure": "",
                "forms": [],
                "values": [],
                **self._write(f"{prefix}after.", changed, oracle and oracle[split:], [o[split:] for o in others]),
            }
        return entry

    def _write(
        self,
        prefix: str,
        native: Sequence[torch.Tensor],
        oracle: Sequence[torch.Tensor] | None,
        others: Sequence[Sequence[torch.Tensor]],
    ) -> dict[str, Any]:
        """Write tensors with their oracle and uncertainty, and return how to read them."""

        def save(kind: str, values: Sequence[torch.Tensor]) -> list[dict[str, Any]]:
            return [tensors.save(t, self._folder / f"{prefix}{kind}{i}", contiguous=True) for i, t in enumerate(values)]

        uncertainties: list[dict[str, Any]] = []
        for i, result in enumerate(native):
            wide = result if oracle is None else oracle[i]
            rows = [other[i] for other in others]
            if not result.is_floating_point():
                # Integers that were computed from float64 values are one more rounding of the same result.
                rows, wide = ([wide, *rows] if oracle is not None else []), result
            uncertainty = uncertainty_of(result, wide, rows, *room_of(result.dtype, self._tolerance))
            stored: dict[str, Any] = {"typical": uncertainty.typical, "rms": uncertainty.rms}
            if uncertainty.places.numel():
                stored["places"] = tensors.save(uncertainty.places, self._folder / f"{prefix}places{i}")
                stored["values"] = tensors.save(
                    uncertainty.values, self._folder / f"{prefix}values{i}", contiguous=True
                )
            uncertainties.append(stored)
        exact = None
        if oracle is not None and any(t.is_floating_point() for t in native):
            exact = save("oracle", [o if n.is_floating_point() else n for n, o in zip(native, oracle, strict=True)])
        return {"native": save("native", native), "oracle": exact, "doubts": uncertainties}
