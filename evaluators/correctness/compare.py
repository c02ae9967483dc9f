"""Comparison of a candidate's output, in the evaluator's own process, with PyTorch's own result and a float64 oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from evaluators.correctness.bounds import CHUNK, FAR, FEW_FAR, Bounds
from evaluators.correctness.mismatch import pattern
from evaluators.correctness.mismatch.evidence import leading
from evaluators.correctness.uncertainty import Uncertainty
from evaluators.runtime.elements import Elements, elements_of
from evaluators.runtime.tensors import raw, same_bits
from kernelevolve.core.evaluation import Status
from kernelevolve.core.record import Record

_SURE = Uncertainty()
_QUICK_CHUNK = 1 << 17
_MARGIN = 0.99
_SPREAD = 4
"""The number of distinct values under several roundings from which on any value among them is correct. Fewer values are the two sides of a
discontinuity, between which nothing lies."""
_OUTLIER = 4.0
"""The error up to which a wrong element counts as an outlier, as a multiple of its tolerance. As many outliers are allowed as PyTorch's own
result has elements that are far off."""

_LISTED = 5
"""The number of wrong elements that a message lists."""


@dataclass(frozen=True)
class _WrongElement:
    """A wrong element: its flat index, and its value and the expected one as text with enough digits to tell them apart."""

    place: int
    got: str
    want: str


class Mismatch(Record):
    """The reason why an output is wrong."""

    status: Status
    """The status of the evaluation."""
    summary: str
    """What is wrong, in one line."""
    details: str = ""
    """Some wrong elements, and a description of where and how the output is wrong."""


def compare(
    candidate: torch.Tensor | Elements,
    native: torch.Tensor | Elements,
    oracle: torch.Tensor | Elements,
    bounds: Bounds,
    label: str,
    uncertainty: Uncertainty = _SURE,
    previous: torch.Tensor | None = None,
) -> Mismatch | None:
    """Compare a candidate's output with the reference outputs.

    Each element must satisfy |y - oracle| <= atol + rtol |oracle|. Where PyTorch's own result is farther off, at a discontinuity or
    where terms cancel, its value is also correct, and so are the values under other roundings (`uncertainty`). In addition, the RMS
    error over the whole output must be comparable to that of PyTorch itself, so that zeros, constants or a lower internal precision do
    not pass where values are small. The comparison runs in chunks and needs only a few MB of memory.

    Args:
        candidate: The output of the candidate.
        native: PyTorch's own result in the working precision.
        oracle: The same result computed in float64; `native` itself where there is none.
        bounds: The allowed errors, from `bounds_of`.
        label: The name of the output, for messages.
        uncertainty: The elements that rounding alone moves, with their values under other roundings.
        previous: The expected output of the call before, which was on other inputs; None where there was none.

    Returns:
        The reason why the output is wrong; None where it is correct.
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
    wrong = outliers = 0
    first: list[_WrongElement] = []
    error = 0.0
    for start in range(0, y.numel, CHUNK):
        stop = min(start + CHUNK, y.numel)
        got, want = y.part(start, stop), n.part(start, stop)
        exact = want if o is n else o.part(start, stop)
        if floating:
            right, outlying, squares = _compare_chunk(
                got.double(), want.double(), exact.double(), bounds, *uncertainty.at(start, stop)
            )
            outliers += outlying
            error += squares
        else:
            right = _same_values(raw(got), raw(want), *uncertainty.at(start, stop))
        bad = ~right
        count = int(bad.sum())
        if count and len(first) < _LISTED:
            places = [int(i) for i in bad.nonzero().reshape(-1)[: _LISTED - len(first)]]
            first += [_wrong_element(start + i, got[i], want[i], exact[i], bounds) for i in places]
        wrong += count
    spared = outliers if outliers <= bounds.outliers else 0
    if wrong - spared > bounds.wrong_share * y.numel + (bounds.wrong_share > 0):
        return _mismatch(y, n, wrong, first, label, previous)
    rms = math.sqrt(error / max(y.numel, 1))
    if rms > bounds.rms:
        return Mismatch(
            status=Status.WRONG_RESULT,
            summary=f"{label}: RMS error {rms:.3g}, PyTorch's own is {bounds.native_rms:.3g} (RMS of the result {bounds.scale:.3g})",
            details=f"allowed {bounds.rms:.3g}. {_pattern(y, n, previous)}".strip(),
        )
    return None


def _compare_chunk(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, bounds: Bounds, places: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, int, float]:
    """Return which elements are correct, how many others are outliers, and the sum of squared errors.

    `a` is the candidate, `b` PyTorch's own result and `c` the oracle, all float64; `places` and `values` are from `Uncertainty.at`.
    """
    finite = torch.isfinite(b) & torch.isfinite(c)
    strict = bounds.atol + bounds.rtol * c.abs()
    off = (a - c).abs()
    right = (off <= strict + bounds.typical) & torch.isfinite(c)
    # float32 overflows where float64 does not, and only in some orders of a sum: the special values of either are accepted.
    right |= ~finite & ((a == b) | (a == c) | (torch.isnan(a) & (torch.isnan(b) | torch.isnan(c))))
    if b is not c:
        far = finite & ((b - c).abs() > FAR * strict)
        near = far & ((a - b).abs() <= bounds.atol + bounds.rtol * b.abs())
        right |= near
        off = torch.where(near, torch.minimum(off, (a - b).abs()), off)
    if places.numel():
        others = values.double()
        distance = (a[places] - others).abs()
        met = (distance <= bounds.atol + bounds.rtol * others.abs()) & torch.isfinite(others)
        met |= (a[places] == others) | (torch.isnan(a[places]) & torch.isnan(others))
        off[places] = torch.minimum(off[places], torch.where(met, distance, math.inf).amin(0))
        among = _among(a[places], torch.cat([others, b[places][None], c[places][None]]), bounds)
        right[places] |= met.any(0) | among
        if bounds.discontinuous_share < FEW_FAR:
            off[places] = torch.where(among, 0.0, off[places])
    off = torch.where(finite, off, 0.0)
    outlying = finite & ~right & (off <= _OUTLIER * (strict + bounds.typical)) & a.isfinite()
    return right, int(outlying.sum()), float(off.nan_to_num(nan=0.0, posinf=0.0).square().sum())


def _among(a: torch.Tensor, others: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """Return which elements lie within the spread of the values under several roundings, widened by itself on both sides.

    Only elements with at least `_SPREAD` distinct values count; fewer are the two sides of a discontinuity.
    """
    ordered = others.sort(dim=0).values
    low, high = ordered[0], ordered[-1]
    gaps = ordered.diff(dim=0) > FAR * (bounds.atol + bounds.rtol * ordered[:-1].abs())
    beyond = high - low
    return (gaps.sum(0) + 1 >= _SPREAD) & beyond.isfinite() & (a >= low - beyond) & (a <= high + beyond)


def _same_values(got: torch.Tensor, want: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    right = got == want
    if places.numel():
        right[places] |= (got[places] == raw(values)).any(0)
    return right


def same_elements(a: Elements, b: Elements) -> bool:
    """Return whether two results have the same shape, dtype and bits; NaN is equal to itself."""
    return (a.shape, a.dtype) == (b.shape, b.dtype) and all(
        same_bits(a.part(start, stop), b.part(start, stop))
        for start, stop in ((i, min(i + CHUNK, a.numel)) for i in range(0, a.numel, CHUNK))
    )


def _surely_right(y: Elements, n: Elements, bounds: Bounds) -> bool:
    """Return whether a result is so near to PyTorch's own that it must be within the bounds, several times faster than `compare`.

    This is sound because PyTorch's own result is within `FAR` of the tolerance, or counts as correct itself.
    """
    room = (1.0 - FAR) * _MARGIN
    total = 0.0
    for start in range(0, y.numel, _QUICK_CHUNK):
        stop = min(start + _QUICK_CHUNK, y.numel)
        a, b = y.part(start, stop), n.part(start, stop)
        if a.element_size() < 4:
            a, b = a.float(), b.float()
        difference = a - b
        total += float(torch.dot(difference, difference))
        # The comparison fails where a value is NaN or infinite. Half of `rtol`, since the tolerance is relative to the oracle.
        if not float(difference.abs_().sub_(b.abs(), alpha=0.5 * room * bounds.rtol).max()) <= room * bounds.atol:
            return False
    return math.sqrt(total / max(y.numel, 1)) + bounds.native_rms <= _MARGIN * bounds.rms


def _wrong_element(
    place: int, got: torch.Tensor, want: torch.Tensor, exact: torch.Tensor, bounds: Bounds
) -> _WrongElement:
    expected = _text(want)
    if want.dtype.is_floating_point and exact.dtype != want.dtype:
        native, oracle = float(want), float(exact)
        if abs(native - oracle) > FAR * (bounds.atol + bounds.rtol * abs(oracle)):
            expected += f" ({oracle!r} in float64)"
    return _WrongElement(place, _text(got), expected)


def _text(value: torch.Tensor) -> str:
    if value.dtype is torch.bool:
        byte = int(raw(value.reshape(1)))
        return str(bool(byte)) if byte < 2 else f"a boolean whose byte is {byte}"
    if value.dtype is torch.float32:
        return str(value.numpy())
    return repr(value.item())


def _mismatch(
    candidate: Elements,
    native: Elements,
    wrong: int,
    first: list[_WrongElement],
    label: str,
    previous: torch.Tensor | None,
) -> Mismatch:
    lines = []
    for element in first:
        shape = candidate.shape
        index = [int(i) for i in torch.unravel_index(torch.tensor(element.place), shape)] if shape else []
        lines.append(f"at {index}: expected {element.want}, got {element.got}")
    share = 100.0 * wrong / max(candidate.numel, 1)
    return Mismatch(
        status=Status.WRONG_RESULT,
        summary=f"{label}: {wrong} of {candidate.numel} elements ({share:.3g}%) are wrong, {lines[0]}",
        details="\n".join([*lines, _pattern(candidate, native, previous)]).strip(),
    )


def _usual(part: torch.Tensor) -> torch.Tensor:
    """Return the values in a dtype that all PyTorch operations support."""
    return part.to(torch.int64) if part.dtype in (torch.uint16, torch.uint32, torch.uint64) else part


def _pattern(candidate: Elements, native: Elements, previous: torch.Tensor | None) -> str:
    """Describe what is wrong, from the leading elements."""
    shape = leading(candidate.shape)
    count = math.prod(shape)
    got, want = (_usual(t.part(0, count)).view(shape) for t in (candidate, native))
    before = None if previous is None or count < candidate.numel else _usual(previous)
    return pattern(got, want, before, cut=count < candidate.numel)
