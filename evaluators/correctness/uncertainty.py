"""The uncertainty of the reference outputs: where, and by how much, rounding alone may change a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

_CHUNK = 1 << 18
_LOOKED_AT = 1 << 16
"""The number of elements from which the typical error is estimated."""
_TYPICAL = 0.98
"""The quantile of the elements' errors that is the typical error."""
_TIMES_MEDIAN = 16.0
"""The largest typical error, as a multiple of the median error. It excludes elements at discontinuities, which are few."""
_WORTH_NOTING = 0.25
"""The share of an element's tolerance below which a change by rounding is not recorded, since it is within the bounds in any case."""


@dataclass(frozen=True)
class Uncertainty:
    """The uncertainty of one output."""

    places: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    """The flat indices of the elements that another rounding moves by a notable part of their tolerance: (m,) int64, ascending."""
    values: torch.Tensor = field(default_factory=lambda: torch.empty(0, 0))
    """The values of the elements at `places` under k other roundings: (k, m), of the output's dtype."""
    typical: float = 0.0
    """The error that most elements of PyTorch's own result do not exceed."""
    rms: float = 0.0
    """Half of the largest RMS error under the other roundings, over the elements that are not in `places`."""

    def at(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the places, relative to `start`, and the values of the uncertain elements within [start, stop)."""
        low, high = torch.searchsorted(self.places, torch.tensor([start, stop])).tolist()
        return self.places[low:high] - start, self.values[:, low:high]


def uncertainty_of(
    native: torch.Tensor, oracle: torch.Tensor, others: Sequence[torch.Tensor], atol: float, rtol: float
) -> Uncertainty:
    """Return the uncertainty of one output.

    Args:
        native: PyTorch's own result in the working precision.
        oracle: The same result computed in float64; `native` itself where results are exact.
        others: The results under other roundings, of the same shape.
        atol: The absolute tolerance of an element.
        rtol: The tolerance of an element relative to the oracle.
    """
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
        return Uncertainty(typical=typical, rms=rms)
    return Uncertainty(torch.cat(places), torch.cat(values, dim=1), typical, rms)


def _typical_error(native: torch.Tensor, oracle: torch.Tensor, others: Sequence[torch.Tensor]) -> float:
    """Return the typical error of PyTorch's own result, or half of that under the other roundings if it is larger.

    Half, since the other roundings round more coarsely than arithmetic in the working precision.
    """
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
