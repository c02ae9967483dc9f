"""Selection of the description that fits a wrong result; the most certain ones are tried first."""

from __future__ import annotations

import torch

from evaluators.correctness.mismatch.evidence import MOST, Evidence
from evaluators.correctness.mismatch.orders import how_they_are_ordered
from evaluators.correctness.mismatch.places import where_they_are
from evaluators.correctness.mismatch.precision import precision
from evaluators.correctness.mismatch.values import stray, what_they_are


def pattern(got: torch.Tensor, want: torch.Tensor, previous: torch.Tensor | None = None, *, cut: bool = False) -> str:
    """Describe how a result differs from the expected one.

    Only the first four million elements are examined. A missing term of a sum is not described, since the result does not show it.

    Args:
        got: The result, on the CPU.
        want: The expected result, of the same shape and on the CPU.
        previous: The expected result of the previous call, which was on other inputs.
        cut: Whether `got` and `want` are the first elements of larger tensors.

    Returns:
        At most two sentences that are true of every element examined; empty where none fits.
    """
    if not got.numel() or got.shape != want.shape:
        return ""
    if got.is_complex() or want.is_complex():
        got, want = torch.view_as_real(got.resolve_conj()), torch.view_as_real(want.resolve_conj())
        before = None if previous is None else torch.view_as_real(previous.resolve_conj())
        return pattern(got, want, before, cut=cut)
    evidence = Evidence(got, want)
    description = _described(evidence, previous)
    if not (evidence.is_cut or cut):
        return description
    if not evidence.count:
        return f"In the first {evidence.total} elements nothing is far off. {description}".strip()
    return f"In the first {evidence.total} elements: {description[0].lower()}{description[1:]}" if description else ""


def _described(evidence: Evidence, previous: torch.Tensor | None) -> str:
    if not evidence.count:
        return precision(evidence)
    if previous is not None and previous.shape == evidence.part and previous.numel() <= MOST:
        before = Evidence(evidence.got, previous.to(evidence.want.dtype))
        if not before.count:
            return "These are the results of the previous call, on other inputs."
    values = what_they_are(evidence)
    if values and values[1]:
        return f"All elements {values[0]}."
    description = how_they_are_ordered(evidence) or ("" if values else precision(evidence))
    if description:
        return description
    sentence = f"The wrong elements {values[0]}." if values else stray(evidence)
    return f"{where_they_are(evidence)} {sentence}".strip()
