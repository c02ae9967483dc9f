"""Where, and by how much, rounding alone may give another result: the uncertainty of the right answer itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

_CHUNK = 1 << 18
_LOOKED_AT = 1 << 16
"""Elements by which the typical error is told."""
_TYPICAL = 0.98
"""The share of the elements that err less,"""
_TIMES_MEDIAN = 16.0
"""but no more than so many times what half of them do: steps, at which fewer lie, do not count."""
_WORTH_NOTING = 0.25
"""Of the room of an element: less is within the bounds in any case."""


@dataclass(frozen=True)
class Doubt:
    """Of one output."""

    places: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    """(m,) int64, ascending: elements, in the order of indices, that another rounding moves by more than a part of their room."""
    values: torch.Tensor = field(default_factory=lambda: torch.empty(0, 0))
    """(k, m), of the output's dtype: what these are under k other roundings."""
    typical: float = 0.0
    """What most elements err by at most, of PyTorch's own result."""
    rms: float = 0.0
    """The RMS error of the elements that are in no doubt, half of that under the other rounding that errs the most."""

    def at(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(places counted from `start`, values there) of the elements [start, stop)."""
        low, high = torch.searchsorted(self.places, torch.tensor([start, stop])).tolist()
        return self.places[low:high] - start, self.values[:, low:high]


def doubt_of(
    native: torch.Tensor, oracle: torch.Tensor, others: Sequence[torch.Tensor], atol: float, rtol: float
) -> Doubt:
    """`native`: PyTorch's result in the working precision; `oracle`: in float64, `native` itself where results are exact; `others`: under
    other roundings, of the same shape. An element has the room `atol` + `rtol` |oracle|."""
    n, o = native.reshape(-1), oracle.reshape(-1)
    rows = [other.reshape(-1) for other in others]
    places: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    squares = [0.0] * len(rows)
    for start in range(0, n.numel() if rows else 0, _CHUNK):
        part = slice(start, start + _CHUNK)
        moved = torch.zeros(n[part].numel(), dtype=torch.bool)
        for k, row in enumerate(rows):
            if native.dtype.is_floating_point:
                c = o[part].double()
                off = (row[part].double() - c).abs()
                near = off <= _WORTH_NOTING * (atol + rtol * c.abs())
                squares[k] += float(torch.where(near & off.isfinite(), off, 0.0).square().sum())
                moved |= ~(near | (row[part] == c) | (row[part].isnan() & c.isnan()))
            else:
                moved |= row[part] != n[part]
        found = moved.nonzero().reshape(-1)
        if found.numel():
            places.append(found + start)
            values.append(torch.stack([row[part][found].to(native.dtype) for row in rows]))
    typical = _typical_error(n, o, rows)
    rms = 0.5 * math.sqrt(max(squares, default=0.0) / max(n.numel(), 1))
    if not places:
        return Doubt(typical=typical, rms=rms)
    return Doubt(torch.cat(places), torch.cat(values, dim=1), typical, rms)


def _typical_error(native: torch.Tensor, oracle: torch.Tensor, others: Sequence[torch.Tensor]) -> float:
    """Of PyTorch's own result, or half of what other roundings move results by, since these round by more than is needed."""
    if not native.dtype.is_floating_point or native.numel() == 0:
        return 0.0
    step = max(1, native.numel() // _LOOKED_AT)
    c = oracle[::step].double()

    def typical(other: torch.Tensor) -> float:
        error = (other[::step].double() - c).abs()
        error = error[error.isfinite()]
        if not error.numel():
            return 0.0
        median, most = (float(error.kthvalue(1 + int(q * (error.numel() - 1))).values) for q in (0.5, _TYPICAL))
        return min(most, _TIMES_MEDIAN * median)

    return max([typical(native), *(0.5 * typical(other) for other in others)])
