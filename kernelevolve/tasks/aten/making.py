"""Makes the task of an operator in a process of its own: `python -m kernelevolve.tasks.aten.making make OPERATOR DTYPE`.

The last line that it prints is JSON. The task follows from the operator, the dtype and the version of PyTorch alone: samples are taken
with seed 0, and enlarged by rules that do not depend on times.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from kernelevolve.tasks.aten.calls import UnsupportedError
from kernelevolve.tasks.aten.cases import Case, case_of
from kernelevolve.tasks.aten.database import DEFAULTS, Entry, UnknownError, entries, entries_of, is_known, writes
from kernelevolve.tasks.aten.growing import Sized, grown
from kernelevolve.tasks.aten.samples import Sample, all_equal, first_line, results_of, samples_of
from kernelevolve.tasks.aten.writing import task_source
from kernelevolve.tasks.structure import StructureError
from kernelevolve.tasks.tensor_kinds import fault_of

_TRIED = 4
"""The number of samples that are enlarged; the one that becomes largest is taken."""
_ROUNDS = 3
"""The number of times that so many samples are tried, if the one that was taken is no task after all."""
_ELEMENTS = 1 << 20
"""The limit of the elements of all tensors and results together."""
_MATRIX_ELEMENTS = 1 << 16
"""The same for operators whose work grows with the cube of a size and that no library makes fast."""
_MATRIX_OPERATORS = (
    *(
        "nn.functional.conv3d",
        "nn.functional.conv_transpose3d",
        "linalg.",
        "cholesky",
        "lu",
        "svd",
        "qr",
        "pinverse",
        "logdet",
        "geqrf",
        "ormqr",
        "lobpcg",
        "pca_lowrank",
    ),
    *("matrix_exp", "triangular_solve", "trapz", "cdist", "det", "slogdet", "orgqr", "householder"),
)
_ENOUGH = 1 << 14
"""The elements of the largest tensor from which on no further sample is tried."""
_VARIANTS = 2
"""The number of further samples that become variants."""


def make(name: str, dtype: str, *, enlarge: bool = True) -> Mapping[str, str]:
    """Return `source`, or the reason why there is none as `refused` or `unknown`.

    Args:
        name: The operator.
        dtype: Its dtype; empty: the default.
        enlarge: Enlarge the sample.
    """
    try:
        refusal = _refusal_of(name)
        if refusal and is_known(name):
            return {"refused": refusal}
        reasons: list[str] = []
        for entry in entries_of(name):
            try:
                return {"source": _task(name, entry, _dtype(entry, name, dtype), enlarge=enlarge)}
            except UnsupportedError as error:
                reasons.append(str(error))
        return {"refused": reasons[0]}
    except UnknownError as error:
        return {"unknown": str(error)}


def names() -> Mapping[str, Sequence[str]]:
    """Return the names of the database that are not refused as such, each with the dtypes of its operator."""
    found = {name: Entry(info, ()).dtypes for name, info in entries().items() if not _refusal_of(name)}
    return {name: dtypes for name, dtypes in found.items() if dtypes}


def _refusal_of(name: str) -> str:
    """Return why an operator of this name cannot become a task, as far as the name says it."""
    words = name.split(".")
    if any(word.endswith("_") and not word.endswith("__") for word in words) or writes(name):
        return "it writes into its inputs: a task returns its results"
    if any("empty" in word for word in words):
        return "its results are not initialised"
    if "sparse" in name or "nested" in name or "_jagged" in name:
        return "it works on sparse or nested tensors"
    if "jiterator" in name:
        return "it compiles a function for a GPU"
    return ""


def _dtype(entry: Entry, name: str, wanted: str) -> str:
    if wanted:
        if wanted not in entry.dtypes:
            raise UnsupportedError(f"{name} takes no {wanted} on a CPU: it takes {', '.join(entry.dtypes)}")
        return wanted
    known = next((each for each in DEFAULTS if each in entry.dtypes), "")
    if not known:
        raise UnsupportedError(
            f"{name} takes none of {', '.join(DEFAULTS)}: name one of {', '.join(entry.dtypes)} after @"
        )
    return known


def _task(name: str, entry: Entry, dtype: str, *, enlarge: bool) -> str:
    """Return the source of the task. Raises UnsupportedError."""
    samples = samples_of(entry, dtype)
    limit = (_MATRIX_ELEMENTS if name.startswith(_MATRIX_OPERATORS) else _ELEMENTS) if enlarge else 0
    reasons: list[str] = []
    for whole in (False, True):
        left = sorted(samples, key=lambda sample: (not sample.finite, -sample.elements, sample.number))
        for _ in range(_ROUNDS):
            found = _largest(entry, left, limit, reasons, whole=whole)
            if found is None:
                break
            case, larger = found
            try:
                source = _source(name, dtype, case, larger, samples, entry)
                _try_out(source)
            except UnsupportedError as error:
                reasons.append(str(error))
            else:
                return source
    raise UnsupportedError(reasons[-1])


def _largest(
    entry: Entry, left: list[Sample], limit: int, reasons: list[str], *, whole: bool
) -> tuple[Case, Sized] | None:
    """Take samples from the list until one can be enlarged far enough or some have been tried.

    Returns:
        The sample that becomes largest, with its sizes; None if the list holds none that can be drawn. Reasons are added to `reasons`.
    """
    best: tuple[Case, Sized] | None = None
    tried = 0
    while left and tried < _TRIED and (best is None or best[1].elements < _ENOUGH):
        sample = left.pop(0)
        try:
            case = case_of(entry, sample, whole=whole)
        except UnsupportedError as error:
            reasons.append(str(error))
            continue
        tried += 1
        larger = grown(case.sized, case.fixed, limit, case.cost) if limit else case.sized
        if best is None or larger.elements > best[1].elements:
            best = (case, larger)
    return best


def _source(name: str, dtype: str, case: Case, larger: Sized, samples: Sequence[Sample], entry: Entry) -> str:
    variants = _variants(case, larger, samples, entry)
    shown = "x".join(map(str, max(larger.shapes, key=math.prod))) or "a scalar"
    summary = f"{name} of PyTorch's OpInfo database, {dtype}: sample {case.sample.number}, its largest tensor {shown}."
    return task_source(summary, case.function, larger.call, case.expressions(larger.shapes), variants)


def _variants(case: Case, larger: Sized, samples: Sequence[Sample], entry: Entry) -> dict[str, list[str]]:
    """Return further inputs of the same call: the sample's own sizes, and other samples with the same arguments."""
    found: dict[str, list[str]] = {}
    if larger.call == case.sized.call and larger.shapes != case.sized.shapes:
        found["sample"] = case.expressions(case.sized.shapes)
    dtypes = [tensor.dtype for tensor in case.sample.tensors]
    for other in samples:
        shapes = tuple(tuple(tensor.shape) for tensor in other.tensors)
        if (
            len(found) > _VARIANTS
            or other.call != case.sample.call
            or larger.call != case.sized.call
            or [tensor.dtype for tensor in other.tensors] != dtypes
            or shapes in (case.sized.shapes, larger.shapes)
        ):
            continue
        with suppress(UnsupportedError):
            alike = case_of(entry, other, whole=False)
            if (alike.function, alike.sized.call) == (case.function, case.sized.call):
                found[f"sample_{other.number}"] = alike.expressions(shapes)
    return found


def _try_out(source: str) -> None:
    """Run the file, and raise UnsupportedError if it is no task that can be worked on."""
    names: dict[str, Any] = {"__name__": "task"}
    exec(compile(source, "task", "exec"), names)
    model = names["Model"]()
    try:
        first, again, other = (_drawn(names, seed) for seed in (0, 0, 1))
        before = [tensor.clone() for tensor in first]
        results = []
        for seed, inputs in enumerate((first, again, other)):
            torch.manual_seed(100 + seed)
            results.append(results_of(model(*inputs)))
    except StructureError as error:
        raise UnsupportedError(f"its result {error}") from error
    except Exception as error:
        raise UnsupportedError(f"its file raised {type(error).__name__}: {first_line(error)}") from error
    for result in results[0]:
        fault = fault_of(result, verb="return")
        if fault:
            raise UnsupportedError(f"its result {fault}")
    if not all_equal(results[0], results[1]):
        raise UnsupportedError("its results are random")
    if not all_equal(first, before):
        raise UnsupportedError("it writes into its inputs: a task returns its results")
    if [result.shape for result in results[0]] != [result.shape for result in results[2]]:
        raise UnsupportedError("the shapes of its results follow from the values of its tensors")
    if all_equal(results[0], results[2]):
        raise UnsupportedError("its results do not depend on the values of its tensors")


def _drawn(names: Mapping[str, Any], seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    drawn: list[torch.Tensor] = names["get_inputs"]()
    return drawn


def main() -> None:
    """Answer one question."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    command, *words = sys.argv[1:]
    with torch.no_grad():
        answer = names() if command == "names" else make(words[0], words[1], enlarge=command == "make")
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
