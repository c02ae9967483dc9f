"""Two tensors of one shape, and where they differ by more than rounding."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch

MOST = 1 << 22
"""Elements that are looked at."""
_CHUNK = 1 << 17
"""Small enough for the cache: whole temporaries of a few million elements would cost a page fault for each 4 KiB."""
_SAMPLED_CHUNKS, _SAMPLES = 8, 128
_RTOL, _ATOL = 1e-3, 1e-4

Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

Predicate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Element by element, of what was got and what was wanted."""


class Evidence:
    """`got`, `want`: the parts looked at, contiguous. Floats are seen as float32 (float64 where they are that), integers as int64.

    Wrong is an element that differs by more than 0.001 of itself and 0.0001 of the RMS of what was wanted, which no rounding of float32
    does; for narrower types four units of their own rounding. Integers must be equal.
    """

    def __init__(self, got: torch.Tensor, want: torch.Tensor) -> None:
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
        return bool(self.count == self.total)

    def close(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Where `a` is `b`, up to rounding."""
        if not self.floating:
            return a == b
        near: torch.Tensor = (a - b).abs_() <= b.abs().mul_(self.rtol).add_(_ATOL / _RTOL * self.rtol * self.scale)
        if self.finite:
            return near
        finite = b.isfinite()
        return (near & finite).logical_or_(a == b).logical_or_(a.isnan() & b.isnan())

    def view(self, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        part = slice(start, start + _CHUNK)
        y, w = self.got.view(-1)[part], self.want.view(-1)[part]
        return y.to(self.kind), w.to(self.kind)

    def holds(self, predicate: Predicate) -> bool:
        """Whether it is so for every wrong element."""
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
        """Whether it is so for every element, wrong or right."""
        if self.count and not bool(predicate(*self.sample).all()):
            return False
        return all(bool(predicate(*self.view(start)).all()) for start in range(0, self.total, _CHUNK))

    @functools.cached_property
    def places(self) -> torch.Tensor:
        """Flat indices of some wrong elements, from all over the tensor."""
        wrong = [number for number, count in enumerate(self.counts) if count]
        chosen = wrong[:: max(1, len(wrong) // _SAMPLED_CHUNKS)][: _SAMPLED_CHUNKS + 1]
        parts = []
        for start in (number * _CHUNK for number in chosen):
            found = self.bad[start : start + _CHUNK].nonzero().view(-1)
            parts.append(start + found[:: max(1, len(found) // _SAMPLES)])
        return torch.cat(parts)

    @functools.cached_property
    def sample(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What was got and what was wanted at `places`."""
        y, w = (t.view(-1)[self.places].to(self.kind) for t in (self.got, self.want))
        return y, w

    @functools.cached_property
    def mask(self) -> Mask:
        """True where it is wrong, in the shape of the part."""
        mask: Mask = self.bad.numpy().reshape(self.part)
        return mask

    def chunks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
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
    """The shape of the first elements, at most MOST: cut along the first dimensions, so that they are first in the order of indices."""
    part = list(shape)
    for dim in range(len(part)):
        rest = int(np.prod(part[dim + 1 :], dtype=np.int64))
        part[dim] = max(1, min(part[dim], MOST // max(rest, 1)))
        if rest <= MOST:
            break
    return tuple(part)
