"""Detection of results whose positions among equal values PyTorch leaves undefined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.correctness.inputs.cases import DerivedCase
from evaluators.correctness.reference.runs import CallResults
from evaluators.correctness.reference.work import Work

_UNORDERED = frozenset(
    {
        *("sort", "argsort", "topk", "kthvalue", "median.dim", "nanmedian.dim", "mode", "cummax", "cummin"),
        *("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"),
        *("adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d", "fractional_max_pool3d"),
    }
)
"""The ATen operations that leave open which position among equal values they return. argmax, argmin, max, min and a stable sort return
the first."""


def tied(case: DerivedCase, native: CallResults, inputs: Sequence[Mapping[str, Any]], work: Work | None) -> str:
    """Return why a correct kernel may return other positions than the reference does.

    Args:
        case: The case that the results are for.
        native: The results of the reference.
        inputs: The inputs, as `tensors.save` describes them.
        work: The operations of a run on the main inputs; None where they are not known.

    Returns:
        A reason; empty where the positions are defined.
    """
    if not case.ties or all(t.is_floating_point() for t in native.outputs):
        return ""
    if not any("float" in m.get("dtype", "") for m in inputs):
        return ""
    if work is None:
        return "positions among equal values may be undefined, since the operations of the reference are not known"
    found = sorted(_UNORDERED.intersection(work.operations))
    return f"positions among equal values are not defined by {found[0]}" if found else ""
