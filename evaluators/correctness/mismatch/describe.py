"""Puts the findings into words, the surest first."""

from __future__ import annotations

import torch

from evaluators.correctness.mismatch.evidence import MOST, Evidence
from evaluators.correctness.mismatch.orders import how_they_are_ordered
from evaluators.correctness.mismatch.places import where_they_are
from evaluators.correctness.mismatch.precision import precision
from evaluators.correctness.mismatch.values import stray, what_they_are


def pattern(got: torch.Tensor, want: torch.Tensor, previous: torch.Tensor | None = None, *, cut: bool = False) -> str:
    """At most two sentences that are true of every element looked at, empty where nothing fits.

    Looks at the first four million elements of two CPU tensors of one shape. `previous`: what was right in the call before this one, on
    other inputs. `cut`: these are the first elements of larger tensors. Nothing is said of a missing term of a sum: that cannot be told
    from the result.
    """
    if not got.numel() or got.shape != want.shape:
        return ""
    if got.is_complex() or want.is_complex():
        return pattern(torch.view_as_real(got.resolve_conj()), torch.view_as_real(want.resolve_conj()), cut=cut)
    evidence = Evidence(got, want)
    told = _described(evidence, previous)
    if not (evidence.is_cut or cut):
        return told
    if not evidence.count:
        return f"In the first {evidence.total} elements nothing is far off. {told}".strip()
    return f"In the first {evidence.total} elements: {told[0].lower()}{told[1:]}" if told else ""


def _described(evidence: Evidence, previous: torch.Tensor | None) -> str:
    if not evidence.count:
        return precision(evidence)
    if previous is not None and previous.shape == evidence.part and previous.numel() <= MOST:
        before = Evidence(evidence.got, previous.to(evidence.want.dtype))
        if not before.count:
            return "These are the results of the call before, on other inputs."
    values = what_they_are(evidence)
    if values and values[1]:
        return f"All elements {values[0]}."
    told = how_they_are_ordered(evidence) or ("" if values else precision(evidence))
    if told:
        return told
    sentence = f"The wrong elements {values[0]}." if values else stray(evidence)
    return f"{where_they_are(evidence)} {sentence}".strip()
