"""Comparison of a candidate's output, in the evaluator's own process, with PyTorch's own result and a float64 oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from evaluators.correctness.mismatch import pattern
from evaluators.correctness.mismatch.evidence import leading
from evaluators.correctness.uncertainty import Uncertainty
from evaluators.runtime.elements import Elements, elements_of
from evaluators.runtime.tensors import raw, same_bits
from kernelevolve.core.evaluation import Status
from kernelevolve.core.record import Record
from kernelevolve.core.task import Tolerance

_SURE = Uncertainty()
_CHUNK = 1 << 16
_QUICK_CHUNK = 1 << 17
_MARGIN = 0.99
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
_FAR = 0.25
"""The share of an element's tolerance beyond which PyTorch's own result is far off; it then counts as correct beside the oracle."""
_FEW_FAR = 0.1
"""The share of elements below which those that are far off lie at discontinuities and do not count in PyTorch's own RMS error."""
_NOTHING = 1e-2
"""The RMS error of all other elements, as a share of that of the elements that are far off, below which the latter are also taken to lie at
discontinuities, up to `_MANY_FAR` of all elements."""
_MANY_FAR = 0.5
"""The share of elements that are far off from which on they count in PyTorch's own RMS error in any case."""
_SPREAD = 4
"""The number of distinct values under several roundings from which on any value among them is correct. Fewer values are the two sides of a
discontinuity, between which nothing lies."""
_WRONG_FACTOR = 8.0
"""The share of elements that may be wrong in timed calls, whose values are new, as a multiple of the share at discontinuities."""
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
    for start in range(0, y.numel, _CHUNK):
        stop = min(start + _CHUNK, y.numel)
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
        far = finite & ((b - c).abs() > _FAR * strict)
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
        if bounds.discontinuous_share < _FEW_FAR:
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
    gaps = ordered.diff(dim=0) > _FAR * (bounds.atol + bounds.rtol * ordered[:-1].abs())
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
        for start, stop in ((i, min(i + _CHUNK, a.numel)) for i in range(0, a.numel, _CHUNK))
    )


def _surely_right(y: Elements, n: Elements, bounds: Bounds) -> bool:
    """Return whether a result is so near to PyTorch's own that it must be within the bounds, several times faster than `compare`.

    This is sound because PyTorch's own result is within `_FAR` of the tolerance, or counts as correct itself.
    """
    room = (1.0 - _FAR) * _MARGIN
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


def _rms(result: Elements) -> float:
    """Return the RMS of the finite elements."""
    total = 0.0
    for start in range(0, result.numel, _CHUNK):
        part = result.part(start, min(start + _CHUNK, result.numel)).double()
        total += float(torch.where(part.isfinite(), part, 0.0).square().sum())
    return math.sqrt(total / max(result.numel, 1))


def _own_error(native: Elements, oracle: Elements, atol: float, rtol: float) -> tuple[float, int]:
    """Return the RMS error of PyTorch's own result, without elements at discontinuities, and the number of elements far off."""
    near = beyond = 0.0
    count = 0
    for start in range(0, native.numel, _CHUNK):
        b, c = (t.part(start, min(start + _CHUNK, native.numel)).double() for t in (native, oracle))
        off = torch.where(torch.isfinite(b) & torch.isfinite(c), (b - c).abs(), 0.0)
        far = off > _FAR * (atol + rtol * c.abs())
        near += float(torch.where(far, 0.0, off).square().sum())
        beyond += float(torch.where(far, off, 0.0).square().sum())
        count += int(far.sum())
    share = count / max(native.numel, 1)
    steps = share < _FEW_FAR or (share < _MANY_FAR and near <= _NOTHING**2 * beyond)
    total = near if steps else near + beyond
    return math.sqrt(total / max(native.numel, 1)), count


def _far_off(native: Elements, oracle: Elements, atol: float, rtol: float) -> int:
    """Return how many elements of PyTorch's own result are off by more than `_FAR` of the tolerance."""
    count = 0
    for start in range(0, native.numel, _CHUNK):
        b, c = (t.part(start, min(start + _CHUNK, native.numel)).double() for t in (native, oracle))
        count += int(((b - c).abs() > _FAR * (atol + rtol * c.abs())).sum())
    return count


def _wrong_element(
    place: int, got: torch.Tensor, want: torch.Tensor, exact: torch.Tensor, bounds: Bounds
) -> _WrongElement:
    expected = _text(want)
    if want.dtype.is_floating_point and exact.dtype != want.dtype:
        native, oracle = float(want), float(exact)
        if abs(native - oracle) > _FAR * (bounds.atol + bounds.rtol * abs(oracle)):
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
