"""A result, the expected result, and the elements in which they differ by more than rounding."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch

MOST = 1 << 22
"""The largest number of elements that are examined."""
_CHUNK = 1 << 17
"""The number of elements that are processed at a time; temporaries of this size stay in the cache and cause few page faults."""
_SAMPLED_CHUNKS = 8
"""The number of chunks from which sample elements are taken."""
_SAMPLES = 128
"""The number of sample elements of each chunk."""
_RTOL, _ATOL = 1e-3, 1e-4
"""The tolerances of an element relative to its expected value, and to the RMS of the expected result."""

Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

Predicate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A test of each element, given the result and the expected result."""


class Evidence:
    """Holds the examined parts of a result and of the expected result, and marks the wrong elements.

    Floats are compared in float32, or in float64 where one of the tensors is float64, and integers in int64. An element is wrong if it
    differs by more than 0.001 of the expected value plus 0.0001 of the RMS of the expected result, which float32 rounding does not
    reach; narrower types get four of their own machine epsilons. Integers must be equal.
    """

    def __init__(self, got: torch.Tensor, want: torch.Tensor) -> None:
        """Compare two tensors.

        Args:
            got: The result.
            want: The expected result, of the same shape.
        """
        self.part = leading(tuple(got.shape))
        window = tuple(slice(0, n) for n in self.part)
        self.got, self.want = (t.detach()[window].contiguous() for t in (got, want))
        self.is_cut = got.numel() > self.got.numel()
        self.floating = got.dtype.is_floating_point
        self.kind = torch.float64 if torch.float64 in (got.dtype, want.dtype) else torch.float32
        if not self.floating:
            self.kind = torch.int64
        eps = max(torch.finfo(t.dtype).eps if t.dtype.is_floating_point else 0.0 for t in (got, want))
        self.rtol = max(_RTOL, 4 * eps) if self.floating else 0.0
        self.finite = True
        self.scale = self._rms() if self.floating else 0.0
        self.bad = torch.empty(self.got.numel(), dtype=torch.bool)
        self.counts = [self._mark(start) for start in range(0, self.got.numel(), _CHUNK)]
        self.count = sum(self.counts)
        self.total = self.got.numel()

    @property
    def all_wrong(self) -> bool:
        """Whether every examined element is wrong."""
        return bool(self.count == self.total)

    def close(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return which elements of `a` equal those of `b` up to rounding."""
        if not self.floating:
            return a == b
        near: torch.Tensor = (a - b).abs_() <= b.abs().mul_(self.rtol).add_(_ATOL / _RTOL * self.rtol * self.scale)
        if self.finite:
            return near
        finite = b.isfinite()
        return (near & finite).logical_or_(a == b).logical_or_(a.isnan() & b.isnan())

    def view(self, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the chunk of both tensors at a flat index, in the dtype of comparisons."""
        part = slice(start, start + _CHUNK)
        y, w = self.got.view(-1)[part], self.want.view(-1)[part]
        return y.to(self.kind), w.to(self.kind)

    def holds(self, predicate: Predicate) -> bool:
        """Return whether a test is true of every wrong element."""
        if not bool(predicate(*self.sample).all()):
            return False
        for number, count in enumerate(self.counts):
            if count:
                start = number * _CHUNK
                true = predicate(*self.view(start))
                if not bool((true | ~self.bad[start : start + _CHUNK]).all()):
                    return False
        return True

    def holds_everywhere(self, predicate: Predicate) -> bool:
        """Return whether a test is true of every element, wrong or right."""
        if self.count and not bool(predicate(*self.sample).all()):
            return False
        return all(bool(predicate(*self.view(start)).all()) for start in range(0, self.total, _CHUNK))

    @functools.cached_property
    def places(self) -> torch.Tensor:
        """The flat indices of some wrong elements, spread over the tensor."""
        wrong = [number for number, count in enumerate(self.counts) if count]
        chosen = wrong[:: max(1, len(wrong) // _SAMPLED_CHUNKS)][: _SAMPLED_CHUNKS + 1]
        parts = []
        for start in (number * _CHUNK for number in chosen):
            found = self.bad[start : start + _CHUNK].nonzero().view(-1)
            parts.append(start + found[:: max(1, len(found) // _SAMPLES)])
        return torch.cat(parts)

    @functools.cached_property
    def sample(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The values of the result and of the expected result at `places`."""
        y, w = (t.view(-1)[self.places].to(self.kind) for t in (self.got, self.want))
        return y, w

    @functools.cached_property
    def mask(self) -> Mask:
        """The mask of the wrong elements, in the shape of the examined part."""
        mask: Mask = self.bad.numpy().reshape(self.part)
        return mask

    def chunks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the chunks of both tensors, in the dtype of comparisons."""
        for start in range(0, self.total, _CHUNK):
            yield self.view(start)

    def _rms(self) -> float:
        squares, count = 0.0, 0
        for start in range(0, self.want.numel(), _CHUNK):
            w = self.want.view(-1)[start : start + _CHUNK].to(self.kind)
            norm = float(torch.linalg.vector_norm(w))
            if not np.isfinite(norm):
                self.finite = self.finite and bool(w.isfinite().all())
                w = w[w.isfinite()]
                norm = float(torch.linalg.vector_norm(w, dtype=torch.float64))
            squares, count = squares + norm**2, count + w.numel()
        return float(np.sqrt(squares / max(count, 1)))

    def _mark(self, start: int) -> int:
        y, w = self.view(start)
        part = torch.logical_not(self.close(y, w), out=self.bad[start : start + _CHUNK])
        return int(part.sum())


def leading(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the leading elements, at most `MOST` of them, which are also the first in memory order."""
    part = list(shape)
    for dim in range(len(part)):
        rest = int(np.prod(part[dim + 1 :], dtype=np.int64))
        part[dim] = max(1, min(part[dim], MOST // max(rest, 1)))
        if rest <= MOST:
            break
    return tuple(part)
