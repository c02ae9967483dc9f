"""Tests whether PyTorch's own result on derived inputs is accurate enough to compare kernels with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

_GROSS = 0.05
"""The least median error of another function, as a share of the median magnitude of the elements."""
_MORE = 64.0
"""The least median error of another function, as a multiple of the change by other roundings."""
_LOOKED_AT = 1 << 20
"""The number of elements that are examined at a time, or from which a median is taken."""


def unfit(
    native: Sequence[torch.Tensor], oracle: Sequence[torch.Tensor] | None, *, strict: bool, finite: bool = False
) -> str:
    """Return why a correct kernel may fail on these inputs.

    Results are unfit where they overflow though the oracle is finite, and, depending on the arguments, where they are inaccurate or
    not finite. Integers and booleans are exact and always fit.

    Args:
        native: PyTorch's own results in the working precision.
        oracle: The same results in float64; None where the reference does not run in float64.
        strict: Whether most elements must have at least half of their digits right, as on inputs that are not meant to be harder than
            the task's own.
        finite: Whether all results must be finite.

    Returns:
        A reason; empty where the results are fit.
    """
    for n, o in zip(native, oracle or native, strict=True):
        if not n.is_floating_point() or n.numel() == 0:
            continue
        wide, exact = n.reshape(-1), o.reshape(-1)
        if any(
            _overflows(wide[i : i + _LOOKED_AT], exact[i : i + _LOOKED_AT]) for i in range(0, n.numel(), _LOOKED_AT)
        ):
            return "PyTorch's own result overflows"
        if finite and not bool(torch.isfinite(n).all()):
            return "PyTorch's own result is not finite"
        if strict and not _precise(wide, exact):
            return "PyTorch's own result has fewer than half of its digits right"
    return ""


def another_function(
    native: Sequence[torch.Tensor], oracle: Sequence[torch.Tensor], others: Sequence[Sequence[torch.Tensor]]
) -> bool:
    """Return whether a reference computes another function in float64, as one does that draws noise or reads the size of a dtype.

    If the working precision differs from float64 only by rounding, the results under other roundings differ from the oracle by a similar
    amount. Rounding inside of an operation is not simulated, but does not cause gross errors.

    Args:
        native: PyTorch's own results in the working precision.
        oracle: The results in float64.
        others: The results in float64 under other roundings, one sequence for each rounding.
    """
    for i, (n, o) in enumerate(zip(native, oracle, strict=True)):
        if not others or not n.is_floating_point() or n.numel() == 0:
            continue
        wide, exact = n.reshape(-1), o.reshape(-1)
        own = _median_error(wide, exact)
        moved = max(_median_error(other[i].reshape(-1), exact) for other in others)
        if own > _GROSS * _median_error(exact, torch.zeros_like(exact)) and own > _MORE * moved:
            return True
    return False


def _median_error(a: torch.Tensor, b: torch.Tensor) -> float:
    step = max(1, a.numel() // _LOOKED_AT)
    error = (a[::step].double() - b[::step].double()).abs()
    error = error[error.isfinite()]
    return float(error.median()) if error.numel() else 0.0


def _overflows(native: torch.Tensor, oracle: torch.Tensor) -> bool:
    return bool((torch.isfinite(oracle) & ~torch.isfinite(native)).any())


def _precise(native: torch.Tensor, oracle: torch.Tensor) -> bool:
    """Return whether most elements have at least half of their digits right, relative to the RMS of the result.

    The median excludes elements at discontinuities, which are few.
    """
    step = max(1, native.numel() // _LOOKED_AT)
    n, o = native[::step].double(), oracle[::step].double()
    finite = torch.isfinite(n) & torch.isfinite(o)
    if not bool(finite.any()):
        return True
    size = float(o[finite].square().mean().sqrt())
    error = float((n - o)[finite].abs().median())
    return error <= math.sqrt(float(torch.finfo(native.dtype).eps)) * size
