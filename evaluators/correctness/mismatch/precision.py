"""Descriptions of results whose errors are small everywhere, by the precision that explains them."""

from __future__ import annotations

import math

import torch

from evaluators.correctness.mismatch.evidence import Evidence

_UNITS = (("bfloat16", 2.0**-9), ("float16 or TF32", 2.0**-12))
"""Precisions and the RMS of the relative error of one rounding, which is about 0.4 of the largest error."""
_SMALL = 0.05
"""The RMS error up to which errors count as small, as a share of the RMS of the result."""
_FAR = 12.0
"""The error up to which an element is not far off, as a multiple of the RMS error."""


def precision(evidence: Evidence) -> str:
    """Return a sentence about the precision that explains errors; empty where some element is far off."""
    if not evidence.floating:
        return ""
    errors = worst = 0.0
    count = 0
    most = _SMALL**2 * evidence.scale**2 * evidence.total
    for y, w in evidence.chunks():
        difference = y.sub(w).abs_()
        if not evidence.finite:
            finite = w.isfinite()
            if not bool((y.isfinite() == finite).all()):
                return ""
            difference = difference[finite]
        errors += float(difference.dot(difference))
        if not errors <= most:
            return ""
        worst = max(worst, float(difference.max()) if len(difference) else 0.0)
        count += len(difference)
    if not errors or not evidence.scale:
        return ""
    size = evidence.scale**2 * count
    ratio, rms = math.sqrt(errors / size), math.sqrt(errors / count)
    if ratio < 4 * torch.finfo(evidence.got.dtype).eps:
        return ""
    for kind in (torch.bfloat16, torch.float16, torch.float32):
        if _rounded_to(evidence, kind):
            name = str(kind).removeprefix("torch.")
            return f"Every element is exactly representable in {name}: the result was rounded to it."
    if worst > _FAR * rms and not _relative(evidence, ratio):
        return ""
    name, unit = min(_UNITS, key=lambda named: abs(math.log(ratio / named[1])))
    if 0.25 <= ratio / unit <= 4:
        return (
            f"No element is far off: the RMS error is {ratio:.2g} of the RMS of the result, "
            f"{ratio / unit:.2g} times the rounding of {name} (a lower precision inside?)."
        )
    return f"No element is far off: the RMS error is {ratio:.2g} of the RMS of the result (a crude approximation?)."


def _relative(evidence: Evidence, ratio: float) -> bool:
    """Return whether the error of each element is small relative to the element, so that a few large ones hold most of the error."""
    return all(bool(((y - w).abs() <= _FAR * ratio * w.abs()).logical_or(y == w).all()) for y, w in evidence.chunks())


def _rounded_to(evidence: Evidence, kind: torch.dtype) -> bool:
    """Return whether all results are representable in a narrower type, and not all expected ones are."""
    if torch.finfo(evidence.got.dtype).bits <= torch.finfo(kind).bits:
        return False
    inexact = False
    for y, w in evidence.chunks():
        if not bool((y.to(kind).to(y.dtype) == y).logical_or(y.isnan()).all()):
            return False
        inexact = inexact or bool((w.to(kind).to(w.dtype) != w).logical_and(w.isfinite()).any())
    return inexact
