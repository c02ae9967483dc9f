"""Whether PyTorch's own result on derived inputs is good enough to judge others by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

_GROSS = 0.05
"""Of the size of most elements."""
_MORE = 64.0
"""Times what rounding moves results by that another function is off by at least."""
_LOOKED_AT = 1 << 20
"""Elements by which the working precision is judged."""


def unfit(
    native: Sequence[torch.Tensor], oracle: Sequence[torch.Tensor] | None, *, strict: bool, finite: bool = False
) -> str:
    """Why an honest kernel may fail on these inputs though PyTorch's own result is right; empty where it may not.

    `native`: PyTorch's results in the working precision; `oracle`: the same in float64, None where the reference does not run in it. Whole
    numbers and booleans are exact. Others overflow where the oracle is finite; or, which `strict` asks for, most elements have fewer
    than half of their digits right: inputs that were made for other reasons than the task's own must not be harder than these. `finite`:
    NaN and infinities are no results.
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
    """Whether a reference computes something else in float64, as one does that draws noise, or asks for the size of an element.

    `others`: results in float64 with every operation rounded in another way. Where rounding is what its own precision differs by, these
    differ as much; but for what an operation rounds inside, which gross errors do not come from.
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
    """The median error against the RMS of the result: steps, which few elements lie at, do not count."""
    step = max(1, native.numel() // _LOOKED_AT)
    n, o = native[::step].double(), oracle[::step].double()
    finite = torch.isfinite(n) & torch.isfinite(o)
    if not bool(finite.any()):
        return True
    size = float(o[finite].square().mean().sqrt())
    error = float((n - o)[finite].abs().median())
    return error <= math.sqrt(float(torch.finfo(native.dtype).eps)) * size
