"""The allowed errors of an output, from the error of PyTorch's own result."""

from __future__ import annotations

import math

import torch

from evaluators.correctness.uncertainty import Uncertainty
from evaluators.runtime.elements import Elements, elements_of
from kernelevolve.core.record import Record
from kernelevolve.core.task import Tolerance

_SURE = Uncertainty()
CHUNK = 1 << 16
"""The number of elements that are compared at a time."""
_DEFAULT = {torch.float16: 1e-2, torch.bfloat16: 1e-2, torch.float32: 1e-4, torch.float64: 1e-7}
_NATIVE_FACTOR = 8.0
"""The allowed RMS error of a candidate, as a multiple of the RMS error of PyTorch's own result."""
_EPSILON_FACTOR = {torch.float16: 4.0, torch.bfloat16: 4.0, torch.float32: 64.0, torch.float64: 1024.0}
"""The RMS error that is allowed in any case, in machine epsilons of the dtype times the RMS of the result. It admits reordered sums,
fast-math and polynomial approximations. Results of 16 bits are rounded once, from a wider accumulator, so they get less. Results in
float64 get more, since their oracle is no more precise than they are."""
_FEW_ELEMENTS = 64
_FEW_FACTOR = 1e-3
"""The RMS error allowed for results of up to `_FEW_ELEMENTS` elements, as a share of the RMS of the result. Such results come from long
sums, whose rounding depends on the order of their terms."""
_TYPICAL_FACTOR = 3.0
"""The allowed error of an element, as a multiple of the typical error of PyTorch's own elements, where that exceeds the tolerance."""
_LEAST_SCALE = 8.0
"""The RMS of the result divided by this limits the allowed RMS error where PyTorch's own result has few correct digits, so that results
that have nothing to do with the inputs do not pass; twice PyTorch's own error is allowed in any case."""
FAR = 0.25
"""The share of an element's tolerance beyond which PyTorch's own result is far off; it then counts as correct beside the oracle."""
FEW_FAR = 0.1
"""The share of elements below which those that are far off lie at discontinuities and do not count in PyTorch's own RMS error."""
_NOTHING = 1e-2
"""The RMS error of all other elements, as a share of that of the elements that are far off, below which the latter are also taken to lie at
discontinuities, up to `_MANY_FAR` of all elements."""
_MANY_FAR = 0.5
"""The share of elements that are far off from which on they count in PyTorch's own RMS error in any case."""
_WRONG_FACTOR = 8.0
"""The share of elements that may be wrong in timed calls, whose values are new, as a multiple of the share at discontinuities."""


class Bounds(Record):
    """The allowed errors of an output. All are zero for integers and booleans, which must be exact."""

    atol: float
    """The absolute tolerance of an element."""
    rtol: float
    """The tolerance of an element relative to the oracle."""
    rms: float
    """The largest allowed RMS error over the whole output."""
    native_rms: float
    """The RMS error of PyTorch's own result, without elements at discontinuities."""
    scale: float
    """The RMS of the oracle's finite elements."""
    typical: float = 0.0
    """The absolute tolerance of an element in addition to `atol`, from the typical error of PyTorch's own elements."""
    discontinuous_share: float = 0.0
    """The share of elements that rounding alone may move to another value, as at a discontinuity."""
    wrong_share: float = 0.0
    """The share of elements that may be wrong."""
    outliers: int = 0
    """The number of elements that may exceed their tolerance by a few times. Where errors vary so much between elements that some of
    PyTorch's own come near to the tolerance, another order of the same sums may exceed it."""

    def relaxed(self, factor: float) -> Bounds:
        """Return bounds `factor` times as wide, for a comparison with PyTorch's own result on other values instead of the oracle.

        Both results then have rounding errors, and their discontinuities are at other elements.
        """
        return self.model_copy(
            update={
                "atol": factor * self.atol,
                "rtol": factor * self.rtol,
                "rms": factor * self.rms,
                "typical": factor * self.typical,
                "wrong_share": min(_WRONG_FACTOR * self.discontinuous_share, 1.0),
            }
        )


def room_of(dtype: torch.dtype, tolerance: Tolerance) -> tuple[float, float]:
    """Return the tolerances (atol, rtol) of a result: those of the task, else the defaults of its dtype; zero for integers and booleans."""
    if not dtype.is_floating_point:
        return 0.0, 0.0
    return (
        _DEFAULT[dtype] if tolerance.atol is None else tolerance.atol,
        _DEFAULT[dtype] if tolerance.rtol is None else tolerance.rtol,
    )


def bounds_of(
    native: torch.Tensor | Elements,
    oracle: torch.Tensor | Elements,
    tolerance: Tolerance,
    uncertainty: Uncertainty = _SURE,
) -> Bounds:
    """Return how far an output may be off; the arguments are as in `compare`, `tolerance` is that of the task."""
    native, oracle = elements_of(native), elements_of(oracle)
    dtype, numel = native.dtype, native.numel
    discontinuous = uncertainty.places.numel() / max(numel, 1)
    if not dtype.is_floating_point:
        return Bounds(atol=0.0, rtol=0.0, rms=0.0, native_rms=0.0, scale=0.0, discontinuous_share=discontinuous)
    atol, rtol = room_of(dtype, tolerance)
    scale = _rms(oracle)
    rounding = _EPSILON_FACTOR[dtype] * torch.finfo(dtype).eps * scale
    # Where the terms of a sum cancel, its rounding error is that of the terms, not of the small remainder.
    atol = max(atol, rounding)
    typical = _TYPICAL_FACTOR * uncertainty.typical
    native_rms, far = _own_error(native, oracle, atol, rtol)
    outliers = _far_off(native, oracle, atol + typical, rtol)
    few = _FEW_FACTOR * scale if numel <= _FEW_ELEMENTS else 0.0
    explicit = (tolerance.rtol or 0.0) * scale + (tolerance.atol or 0.0)
    usual = max(native_rms, uncertainty.rms)
    by_own_error = min(_NATIVE_FACTOR * usual, max(2.0 * usual, scale / _LEAST_SCALE))
    return Bounds(
        atol=atol,
        rtol=rtol,
        # Where all elements are zero, the size of the terms is unknown, so the absolute tolerance applies.
        rms=max(by_own_error, rounding, few, explicit) if scale else atol,
        native_rms=native_rms,
        scale=scale,
        typical=typical,
        discontinuous_share=max(discontinuous, far / max(numel, 1)),
        outliers=outliers,
    )


def _rms(result: Elements) -> float:
    """Return the RMS of the finite elements."""
    total = 0.0
    for start in range(0, result.numel, CHUNK):
        part = result.part(start, min(start + CHUNK, result.numel)).double()
        total += float(torch.where(part.isfinite(), part, 0.0).square().sum())
    return math.sqrt(total / max(result.numel, 1))


def _own_error(native: Elements, oracle: Elements, atol: float, rtol: float) -> tuple[float, int]:
    """Return the RMS error of PyTorch's own result, without elements at discontinuities, and the number of elements far off."""
    near = beyond = 0.0
    count = 0
    for start in range(0, native.numel, CHUNK):
        b, c = (t.part(start, min(start + CHUNK, native.numel)).double() for t in (native, oracle))
        off = torch.where(torch.isfinite(b) & torch.isfinite(c), (b - c).abs(), 0.0)
        far = off > FAR * (atol + rtol * c.abs())
        near += float(torch.where(far, 0.0, off).square().sum())
        beyond += float(torch.where(far, off, 0.0).square().sum())
        count += int(far.sum())
    share = count / max(native.numel, 1)
    steps = share < FEW_FAR or (share < _MANY_FAR and near <= _NOTHING**2 * beyond)
    total = near if steps else near + beyond
    return math.sqrt(total / max(native.numel, 1)), count


def _far_off(native: Elements, oracle: Elements, atol: float, rtol: float) -> int:
    """Return how many elements of PyTorch's own result are off by more than `FAR` of the tolerance."""
    count = 0
    for start in range(0, native.numel, CHUNK):
        b, c = (t.part(start, min(start + CHUNK, native.numel)).double() for t in (native, oracle))
        count += int(((b - c).abs() > FAR * (atol + rtol * c.abs())).sum())
    return count
