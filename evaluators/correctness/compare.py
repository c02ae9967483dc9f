"""Whether a candidate's output is the same result: judged by the parent against a float64 oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from evaluators.correctness.mismatch import pattern
from evaluators.correctness.mismatch.evidence import leading
from evaluators.correctness.uncertainty import Doubt
from evaluators.runtime.elements import Elements, elements_of
from evaluators.runtime.tensors import raw, same_bits
from kernelevolve.core.evaluation import Status
from kernelevolve.core.record import Record
from kernelevolve.core.task import Tolerance

_SURE = Doubt()
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
_TYPICAL_FACTOR = 3.0
"""An element may be off by this many times what PyTorch's own are typically off by, where that is more than the tolerance."""
_LEAST_SCALE = 8.0
"""Where PyTorch's own result has few right digits, the RMS error may be at most twice its own, or the RMS of the result through this:
results that have nothing to do with the inputs do not pass."""
_FAR = 0.25
"""Of the room of an element: where PyTorch's own result is off by more than that, it is as right as the oracle."""
_FEW_FAR = 0.1
"""Share of elements up to which those that are far off, as at steps, do not count for PyTorch's own RMS error;"""
_NOTHING = 1e-2
"""up to half of them do not where the error of the others is less than this share of theirs: these are steps too."""
_MANY_FAR = 0.5
_SPREAD = 4
"""Different values under several roundings from which on anything among them is right: fewer tell of a step, which nothing lies on."""
_SPARE = 8.0
"""In timed calls, whose values are new, so many times the case's share of elements at steps may be on the other side."""

_OUTLIER = 4.0
"""Times its room that an element may be off by, where PyTorch's own result has elements that are far off too: as many as it has."""

_TOLD = 5
"""Wrong elements that are named."""


@dataclass(frozen=True)
class _Wrong:
    """An element, by its place in the order of indices; the values as text that tells them apart."""

    place: int
    got: str
    want: str


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
    """that of PyTorch's own result, without few elements that are far off,"""
    scale: float
    """and the RMS of the result."""
    typical: float = 0.0
    """What elements may be off by beyond `atol` where even PyTorch's own typically are."""
    steps: float = 0.0
    """The share of elements that rounding alone may move to another value."""
    spare: float = 0.0
    """Share of elements that may be wrong."""
    outliers: int = 0
    """Elements that may be off by a few times their room: where errors differ so much from element to element that PyTorch's own come near
    to it, those of another order of the same sums reach beyond it."""

    def relaxed(self, factor: float) -> Bounds:
        """For a comparison with PyTorch's own result on other values instead of the oracle: both err, and have steps at other places."""
        return self.model_copy(
            update={
                "atol": factor * self.atol,
                "rtol": factor * self.rtol,
                "rms": factor * self.rms,
                "typical": factor * self.typical,
                "spare": min(_SPARE * self.steps, 1.0),
            }
        )


def room_of(dtype: torch.dtype, tolerance: Tolerance) -> tuple[float, float]:
    """(atol, rtol) of a result: the task's, else the default of its dtype. Zero for integers and booleans."""
    if not dtype.is_floating_point:
        return 0.0, 0.0
    return (
        _DEFAULT[dtype] if tolerance.atol is None else tolerance.atol,
        _DEFAULT[dtype] if tolerance.rtol is None else tolerance.rtol,
    )


def bounds_of(
    native: torch.Tensor | Elements, oracle: torch.Tensor | Elements, tolerance: Tolerance, doubt: Doubt = _SURE
) -> Bounds:
    """`native` is PyTorch's own result in the working precision, `oracle` the same in float64, `doubt` how far rounding moves it."""
    native, oracle = elements_of(native), elements_of(oracle)
    dtype, numel = native.dtype, native.numel
    steps = doubt.places.numel() / max(numel, 1)
    if not dtype.is_floating_point:
        return Bounds(atol=0.0, rtol=0.0, rms=0.0, own=0.0, scale=0.0, steps=steps)
    atol, rtol = room_of(dtype, tolerance)
    scale = _rms(oracle)
    rounding = _EPSILON_FACTOR[dtype] * torch.finfo(dtype).eps * scale
    # Where terms of a sum cancel, its rounding error is that of the terms, not of what is left.
    atol = max(atol, rounding)
    typical = _TYPICAL_FACTOR * doubt.typical
    own, far = _own_error(native, oracle, atol, rtol)
    outliers = _far_off(native, oracle, atol + typical, rtol)
    few = _FEW_FACTOR * scale if numel <= _FEW_ELEMENTS else 0.0
    explicit = (tolerance.rtol or 0.0) * scale + (tolerance.atol or 0.0)
    usual = max(own, doubt.rms)
    told = min(_NATIVE_FACTOR * usual, max(2.0 * usual, scale / _LEAST_SCALE))
    return Bounds(
        atol=atol,
        rtol=rtol,
        # Of what is nothing but zeros no other element tells the size of the terms.
        rms=max(told, rounding, few, explicit) if scale else atol,
        own=own,
        scale=scale,
        typical=typical,
        steps=max(steps, far / max(numel, 1)),
        outliers=outliers,
    )


def compare(
    candidate: torch.Tensor | Elements,
    native: torch.Tensor | Elements,
    oracle: torch.Tensor | Elements,
    bounds: Bounds,
    label: str,
    doubt: Doubt = _SURE,
) -> Mismatch | None:
    """None where `candidate` is right.

    Element by element |y - oracle| <= atol + rtol |oracle|. Where PyTorch's own result is farther off, at a step or where terms cancel,
    it is as right as the oracle, and so is what other roundings give (`doubt`). Over the whole, the RMS error is held against that of
    PyTorch itself, so that zeros, constants or a lower precision inside do not pass where values are small. Runs in chunks: needs a few
    MB beside what it is given, and for a wrong result an excerpt of it, from which its pattern is read.
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
    first: list[_Wrong] = []
    error = 0.0
    for start in range(0, y.numel, _CHUNK):
        stop = min(start + _CHUNK, y.numel)
        got, want = y.part(start, stop), n.part(start, stop)
        exact = want if o is n else o.part(start, stop)
        if floating:
            right, outlying, squares = _judged(
                got.double(), want.double(), exact.double(), bounds, *doubt.at(start, stop)
            )
            outliers += outlying
            error += squares
        else:
            right = _same_values(raw(got), raw(want), *doubt.at(start, stop))
        bad = ~right
        count = int(bad.sum())
        if count and len(first) < _TOLD:
            places = [int(i) for i in bad.nonzero().reshape(-1)[: _TOLD - len(first)]]
            first += [_told(start + i, got[i], want[i], exact[i], bounds) for i in places]
        wrong += count
    if wrong - (outliers if outliers <= bounds.outliers else 0) > bounds.spare * y.numel + (bounds.spare > 0):
        return _wrong(y, n, wrong, first, label)
    rms = math.sqrt(error / max(y.numel, 1))
    if rms > bounds.rms:
        return Mismatch(
            status=Status.WRONG_RESULT,
            summary=f"{label}: RMS error {rms:.3g}, PyTorch's own is {bounds.own:.3g} (RMS of the result {bounds.scale:.3g})",
            details=f"allowed {bounds.rms:.3g}. {_pattern(y, n)}".strip(),
        )
    return None


def _judged(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, bounds: Bounds, places: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, int, float]:
    """(which elements are right, how many of the others are off by a few times their room only, the sum of squares of what elements are off
    by): `a` candidate, `b` native, `c` oracle, all float64.

    `places`, `values`: from `Doubt.at`.
    """
    finite = torch.isfinite(b) & torch.isfinite(c)
    strict = bounds.atol + bounds.rtol * c.abs()
    off = (a - c).abs()
    right = (off <= strict + bounds.typical) & torch.isfinite(c)
    # float32 overflows where float64 does not, and in one order of a sum only: either's special values will do.
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
        if bounds.steps < _FEW_FAR:
            off[places] = torch.where(among, 0.0, off[places])
    off = torch.where(finite, off, 0.0)
    outlying = finite & ~right & (off <= _OUTLIER * (strict + bounds.typical)) & a.isfinite()
    return right, int(outlying.sum()), float(off.nan_to_num(nan=0.0, posinf=0.0).square().sum())


def _among(a: torch.Tensor, others: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    """Which elements lie where those under several roundings do, or as far beyond, if these are many values and not the sides of a step."""
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
    """Bit by bit, of one shape and dtype; NaN is equal to itself."""
    return (a.shape, a.dtype) == (b.shape, b.dtype) and all(
        same_bits(a.part(start, stop), b.part(start, stop))
        for start, stop in ((i, min(i + _CHUNK, a.numel)) for i in range(0, a.numel, _CHUNK))
    )


def _surely_right(y: Elements, n: Elements, bounds: Bounds) -> bool:
    """Whether a result is so near to PyTorch's own that it must be within the bounds: several times cheaper to tell than the rest.

    PyTorch's own is within `_FAR` of the room, or right by itself.
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
        # Not finite where anything else is not. Half of `rtol`, since it is the oracle's size that counts.
        if not float(difference.abs_().sub_(b.abs(), alpha=0.5 * room * bounds.rtol).max()) <= room * bounds.atol:
            return False
    return math.sqrt(total / max(y.numel, 1)) + bounds.own <= _MARGIN * bounds.rms


def _rms(result: Elements) -> float:
    """Over the finite elements."""
    total = 0.0
    for start in range(0, result.numel, _CHUNK):
        part = result.part(start, min(start + _CHUNK, result.numel)).double()
        total += float(torch.where(part.isfinite(), part, 0.0).square().sum())
    return math.sqrt(total / max(result.numel, 1))


def _own_error(native: Elements, oracle: Elements, atol: float, rtol: float) -> tuple[float, int]:
    """(RMS error of PyTorch's own result over the finite elements of both, how many are far off: not counted at steps)."""
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
    """How many of PyTorch's own elements are off by more than a part of the room that these bounds leave."""
    count = 0
    for start in range(0, native.numel, _CHUNK):
        b, c = (t.part(start, min(start + _CHUNK, native.numel)).double() for t in (native, oracle))
        count += int(((b - c).abs() > _FAR * (atol + rtol * c.abs())).sum())
    return count


def _told(place: int, got: torch.Tensor, want: torch.Tensor, exact: torch.Tensor, bounds: Bounds) -> _Wrong:
    """With as many digits as tell values of this dtype apart."""
    expected = _text(want)
    if want.dtype.is_floating_point and exact.dtype != want.dtype:
        native, oracle = float(want), float(exact)
        if abs(native - oracle) > _FAR * (bounds.atol + bounds.rtol * abs(oracle)):
            expected += f" ({oracle!r} in float64)"
    return _Wrong(place, _text(got), expected)


def _text(value: torch.Tensor) -> str:
    if value.dtype is torch.bool:
        byte = int(raw(value.reshape(1)))
        return str(bool(byte)) if byte < 2 else f"a boolean whose byte is {byte}"
    if value.dtype is torch.float32:
        return str(value.numpy())
    return repr(value.item())


def _wrong(candidate: Elements, native: Elements, wrong: int, first: list[_Wrong], label: str) -> Mismatch:
    lines = []
    for found in first:
        index = (
            [int(i) for i in torch.unravel_index(torch.tensor(found.place), candidate.shape)] if candidate.shape else []
        )
        lines.append(f"at {index}: expected {found.want}, got {found.got}")
    share = 100.0 * wrong / max(candidate.numel, 1)
    return Mismatch(
        status=Status.WRONG_RESULT,
        summary=f"{label}: {wrong} of {candidate.numel} elements ({share:.3g}%) are wrong, {lines[0]}",
        details="\n".join([*lines, _pattern(candidate, native)]).strip(),
    )


def _usual(part: torch.Tensor) -> torch.Tensor:
    """As a dtype that PyTorch has all its operations for."""
    return part.to(torch.int64) if part.dtype in (torch.uint16, torch.uint32, torch.uint64) else part


def _pattern(candidate: Elements, native: Elements) -> str:
    """Of the first elements, as many as are looked at."""
    shape = leading(candidate.shape)
    count = math.prod(shape)
    got, want = (_usual(t.part(0, count)).view(shape) for t in (candidate, native))
    return pattern(got, want, cut=count < candidate.numel)
