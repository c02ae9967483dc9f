"""Whether a candidate's output is the same result: judged by the parent against a float64 oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from evaluators.elements import Elements, elements_of
from evaluators.patterns import pattern
from evaluators.patterns.evidence import leading
from evaluators.tensors import same_bits
from kernelevolve.core.evaluation import Status
from kernelevolve.core.record import Record
from kernelevolve.core.task import Tolerance

_CHUNK = 1 << 16
_QUICK_CHUNK = 1 << 17
_MARGIN = 0.99
_DEFAULT = {torch.float16: 1e-2, torch.bfloat16: 1e-2, torch.float32: 1e-4, torch.float64: 1e-7}
_NATIVE_FACTOR = 8.0
"""A candidate's RMS error may be this many times that of PyTorch's own result,"""
_EPSILON_FACTOR = {torch.float16: 4.0, torch.bfloat16: 4.0, torch.float32: 64.0, torch.float64: 1024.0}
"""or this many units of rounding of the RMS of the result: reordered sums, fast-math and polynomial functions pass. Sixteen-bit
results are rounded once, from a wider accumulator, so they get less; what float64 is judged by is no more precise than itself."""
_FEW_ELEMENTS = 64
_FEW_FACTOR = 1e-3
"""Results of few elements come from long sums, whose rounding depends on the order; as a share of the RMS of the result."""


_TOLD = 5
"""Wrong elements that are named."""


@dataclass(frozen=True)
class _Wrong:
    """An element, by its place in the order of indices."""

    place: int
    got: float
    want: float


class Mismatch(Record):
    """Why an output is not the result."""

    status: Status
    summary: str
    details: str = ""


class Bounds(Record):
    """How far an output may be off. All zero for integers and booleans, which are exact."""

    atol: float
    rtol: float
    rms: float
    """Most that the RMS error over the whole may be,"""
    own: float
    """that of PyTorch's own result,"""
    scale: float
    """and the RMS of the result."""
    share: float = math.inf
    """Most of the room of an element that PyTorch's own error takes; infinite where a result is not finite, or exact."""

    def widened(self, most: float, rms: float) -> Bounds:
        """For a result that moves so far when its inputs are rounded differently."""
        return self.model_copy(
            update={
                "atol": max(self.atol, _NATIVE_FACTOR * most),
                "rms": max(self.rms, _NATIVE_FACTOR * rms),
            }
        )

    def relaxed(self, factor: float) -> Bounds:
        """For a comparison with PyTorch's own result instead of the oracle: both err."""
        return self.model_copy(
            update={"atol": factor * self.atol, "rtol": factor * self.rtol, "rms": factor * self.rms}
        )


def bounds_of(native: torch.Tensor | Elements, oracle: torch.Tensor | Elements, tolerance: Tolerance) -> Bounds:
    """`native` is PyTorch's own result in the working precision, `oracle` the same in float64."""
    native, oracle = elements_of(native), elements_of(oracle)
    dtype, numel = native.dtype, native.numel
    if not dtype.is_floating_point:
        return Bounds(atol=0.0, rtol=0.0, rms=0.0, own=0.0, scale=0.0)
    atol = _DEFAULT[dtype] if tolerance.atol is None else tolerance.atol
    rtol = _DEFAULT[dtype] if tolerance.rtol is None else tolerance.rtol
    own, scale = _own_error(native, oracle) if numel else (0.0, 0.0)
    rounding = _EPSILON_FACTOR[dtype] * torch.finfo(dtype).eps * scale
    few = _FEW_FACTOR * scale if numel <= _FEW_ELEMENTS else 0.0
    explicit = (tolerance.rtol or 0.0) * scale + (tolerance.atol or 0.0)
    # Where terms of a sum cancel, its rounding error is that of the terms, not of what is left.
    atol = max(atol, rounding)
    rms = max(_NATIVE_FACTOR * own, rounding, few, explicit)
    share = _own_share(native, oracle, atol, rtol)
    return Bounds(atol=atol, rtol=rtol, rms=rms, own=own, scale=scale, share=share)


def compare(
    candidate: torch.Tensor | Elements,
    native: torch.Tensor | Elements,
    oracle: torch.Tensor | Elements,
    bounds: Bounds,
    label: str,
) -> Mismatch | None:
    """None where `candidate` is right.

    Element by element |y - oracle| <= atol + rtol |oracle|; over the whole, the RMS error is held against that of PyTorch itself,
    so that zeros, constants or a lower precision inside do not pass where values are small. Runs in chunks: needs a few MB beside
    what it is given, and for a wrong result an excerpt of it, from which its pattern is read.
    """
    if tuple(candidate.shape) != tuple(native.shape):
        return Mismatch(
            status=Status.WRONG_SHAPE,
            summary=f"{label}: shape {tuple(candidate.shape)}, expected {tuple(native.shape)}",
        )
    if candidate.dtype != native.dtype:
        return Mismatch(status=Status.WRONG_SHAPE, summary=f"{label}: {candidate.dtype}, expected {native.dtype}")
    y, n = elements_of(candidate), elements_of(native)
    o = n if oracle is native else elements_of(oracle)
    floating = n.dtype.is_floating_point
    if floating and _surely_right(y, n, bounds):
        return None
    wrong = 0
    first: list[_Wrong] = []
    error = 0.0
    for start in range(0, y.numel, _CHUNK):
        stop = min(start + _CHUNK, y.numel)
        got, want = y.part(start, stop), n.part(start, stop)
        if not floating:
            bad = got != want
        else:
            a, b = got.double(), want.double()
            c = b if o is n else o.part(start, stop).double()
            finite = torch.isfinite(b) & torch.isfinite(c)
            # float32 overflows where float64 does not, and in one order of a sum only: either's special values will do.
            special = (a == b) | (a == c) | (torch.isnan(a) & (torch.isnan(b) | torch.isnan(c)))
            difference = torch.where(finite, (a - c).abs(), torch.zeros_like(a))
            bad = torch.where(finite, ~(difference <= bounds.atol + bounds.rtol * c.abs()), ~special)
            error += float((difference.nan_to_num(nan=0.0, posinf=0.0) ** 2).sum())
        count = int(bad.sum())
        if count and len(first) < _TOLD:
            places = [int(i) for i in bad.nonzero().reshape(-1)[: _TOLD - len(first)]]
            first += [_Wrong(start + i, got[i].item(), want[i].item()) for i in places]
        wrong += count
    if wrong:
        return _wrong(y, n, wrong, first, label)
    rms = math.sqrt(error / max(y.numel, 1))
    if rms > bounds.rms:
        return Mismatch(
            status=Status.WRONG_RESULT,
            summary=f"{label}: RMS error {rms:.3g}, PyTorch's own is {bounds.own:.3g} (RMS of the result {bounds.scale:.3g})",
            details=f"allowed {bounds.rms:.3g}. {_pattern(y, n)}".strip(),
        )
    return None


def same_elements(a: Elements, b: Elements) -> bool:
    """Bit by bit, of one shape and dtype; NaN is equal to itself."""
    return (a.shape, a.dtype) == (b.shape, b.dtype) and all(
        same_bits(a.part(start, stop), b.part(start, stop))
        for start, stop in ((i, min(i + _CHUNK, a.numel)) for i in range(0, a.numel, _CHUNK))
    )


def _surely_right(y: Elements, n: Elements, bounds: Bounds) -> bool:
    """Whether a result is so near to PyTorch's own that it must be within the bounds: several times cheaper to tell than the rest."""
    room = (1.0 - bounds.share) * _MARGIN
    if room <= 0:
        return False
    total = 0.0
    for start in range(0, y.numel, _QUICK_CHUNK):
        stop = min(start + _QUICK_CHUNK, y.numel)
        a, b = y.part(start, stop), n.part(start, stop)
        if a.element_size() == 2:
            a, b = a.float(), b.float()
        difference = a - b
        total += float(torch.dot(difference, difference))
        # Not finite where anything else is not.
        if not float(difference.abs_().sub_(b.abs(), alpha=room * bounds.rtol).max()) <= room * bounds.atol:
            return False
    return math.sqrt(total / max(y.numel, 1)) + bounds.own <= _MARGIN * bounds.rms


def _own_share(native: Elements, oracle: Elements, atol: float, rtol: float) -> float:
    share = 0.0
    for start in range(0, native.numel, _CHUNK):
        b, c = (t.part(start, min(start + _CHUNK, native.numel)).double() for t in (native, oracle))
        part = float(((b - c).abs() / (atol + rtol * c.abs())).max())
        if not math.isfinite(part):
            return math.inf
        share = max(share, part)
    return share


def _own_error(native: Elements, oracle: Elements) -> tuple[float, float]:
    """(RMS error of PyTorch's own result, RMS of the result) over the finite elements of both."""
    error = size = 0.0
    for start in range(0, native.numel, _CHUNK):
        b, c = (t.part(start, min(start + _CHUNK, native.numel)).double() for t in (native, oracle))
        finite = torch.isfinite(b) & torch.isfinite(c)
        error += float((torch.where(finite, b - c, torch.zeros_like(b)) ** 2).sum())
        size += float((torch.where(finite, c, torch.zeros_like(c)) ** 2).sum())
    return math.sqrt(error / native.numel), math.sqrt(size / native.numel)


def _wrong(candidate: Elements, native: Elements, wrong: int, first: list[_Wrong], label: str) -> Mismatch:
    lines = []
    for found in first:
        index = (
            [int(i) for i in torch.unravel_index(torch.tensor(found.place), candidate.shape)] if candidate.shape else []
        )
        lines.append(f"at {index}: expected {found.want!r}, got {found.got!r}")
    share = 100.0 * wrong / max(candidate.numel, 1)
    return Mismatch(
        status=Status.WRONG_RESULT,
        summary=f"{label}: {wrong} of {candidate.numel} elements ({share:.3g}%) are wrong, {lines[0]}",
        details="\n".join([*lines, _pattern(candidate, native)]).strip(),
    )


def _pattern(candidate: Elements, native: Elements) -> str:
    """Of the first elements, as many as are looked at."""
    shape = leading(candidate.shape)
    count = math.prod(shape)
    got, want = (t.part(0, count).view(shape) for t in (candidate, native))
    return pattern(got, want, cut=count < candidate.numel)
