"""Descriptions of right values at wrong places: transposed, shifted, reversed, repeated, permuted.

Each description is tested on a few elements first, and is returned only where it is true of all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from evaluators.correctness.mismatch.evidence import Evidence

_FEWEST = 3
"""The number of wrong elements, and of indices of a dimension, below which an order may be due to chance."""
_CANDIDATES = 16
"""The number of shift distances that are tried."""
_LONGEST = 1 << 16
"""The size of a dimension up to which permutations are looked for."""


def how_they_are_ordered(evidence: Evidence) -> str:
    """Return a sentence about the order of the elements; empty where none fits."""
    if evidence.count < _FEWEST or evidence.is_cut or _few_values(evidence):
        return ""
    for form in (_reversed, _transposed, _repeated, _shifted, _permuted):
        description = form(evidence)
        if description:
            return description
    return ""


def _few_values(evidence: Evidence) -> bool:
    """Return whether there are so few different values, as with booleans, that an order may be due to chance."""
    return int(evidence.sample[1].unique().numel()) < _FEWEST


def _is(evidence: Evidence, got: torch.Tensor, want: torch.Tensor) -> bool:
    """Return whether two views are equal up to rounding; a few elements are compared first."""
    if not bool(evidence.close(_thin(got, evidence), _thin(want, evidence)).all()):
        return False
    rows = max(1, (1 << 17) * got.shape[0] // max(got.numel(), 1))
    pairs = zip(got.split(rows), want.split(rows), strict=True)
    return all(bool(evidence.close(y.to(evidence.kind), w.to(evidence.kind)).all()) for y, w in pairs)


def _thin(view: torch.Tensor, evidence: Evidence) -> torch.Tensor:
    for dim, length in enumerate(view.shape):
        view = view.index_select(dim, torch.linspace(0, length - 1, min(length, 5)).long())
    return view.to(evidence.kind)


def _reversed(e: Evidence) -> str:
    for dim, length in enumerate(e.part):
        if length >= _FEWEST and _is(e, e.got, _flipped(e.want, dim)):
            return f"Reversed along dimension {dim}: index i holds the values of index {length - 1} - i."
    return ""


def _flipped(tensor: torch.Tensor, dim: int) -> torch.Tensor:
    return tensor.flip(dim)


def _transposed(e: Evidence) -> str:
    """Describe a result that is transposed in memory."""
    for a, b in itertools.combinations(range(len(e.part)), 2):
        if min(e.part[a], e.part[b]) < 2:
            continue
        order = list(range(len(e.part)))
        order[a], order[b] = b, a
        moved = e.want.permute(order)
        if _is(e, e.got.view(moved.shape), moved):
            return f"Dimensions {a} and {b} are transposed: in memory the result has the shape {list(moved.shape)}."
    return ""


def _repeated(e: Evidence) -> str:
    for dim, length in enumerate(e.part):
        if length >= _FEWEST and len(e.part) > 1:
            index = next((i for i in (0, length - 1) if _is(e, e.got, _one(e.want, dim, i))), None)
            if index is not None:
                return f"Every index of dimension {dim} holds the values of index {index}."
    return ""


def _one(tensor: torch.Tensor, dim: int, index: int) -> torch.Tensor:
    return tensor.narrow(dim, index, 1).expand(tensor.shape)


def _shifted(e: Evidence) -> str:
    views = [(dim, f"along dimension {dim}", e.got, e.want) for dim in range(len(e.part))]
    if len(e.part) > 1:
        views.append((0, "in memory order", e.got.view(-1), e.want.view(-1)))
    for dim, words, got, want in views:
        length = got.shape[dim]
        for shift in _shifts(e, got, want, dim):
            kept = length - abs(shift)
            here, there = got.narrow(dim, max(shift, 0), kept), want.narrow(dim, max(-shift, 0), kept)
            if not _is(e, here, there):
                continue
            around = got.narrow(dim, 0 if shift > 0 else kept, abs(shift))
            wrapped = want.narrow(dim, kept if shift > 0 else 0, abs(shift))
            rolled = ", wrapping around" if _is(e, around, wrapped) else ""
            sign = "-" if shift > 0 else "+"
            return f"Shifted {words}: index i holds the values of index i {sign} {abs(shift)}{rolled}."
    return ""


def _shifts(e: Evidence, got: torch.Tensor, want: torch.Tensor, dim: int) -> Iterator[int]:
    """Yield shift distances to try: one and two, then those that explain a wrong value near the middle, up to half of the dimension."""
    length = got.shape[dim]
    if length < 2 * _FEWEST:
        return
    yield from (1, -1, 2, -2)
    shape = torch.Size(got.shape)
    places = torch.unravel_index(e.places, shape)
    from_end = torch.minimum(places[dim], length - 1 - places[dim])
    best = int(from_end.argmax())
    index = tuple(slice(None) if d == dim else int(p[best]) for d, p in enumerate(places))
    line, held, at = want[index].to(e.kind), got[index].to(e.kind), int(places[dim][best])
    if not bool(held[at] != 0):
        return
    matches = e.close(held[at].expand(length), line).nonzero().view(-1)
    distances = sorted((at - int(m) for m in matches), key=abs)
    yield from (d for d in distances[:_CANDIDATES] if abs(d) > 2 and 2 * abs(d) <= length)


def _permuted(e: Evidence) -> str:
    """Describe slices of one dimension in another order. They are matched by their first values, then compared in full."""
    for dim, length in enumerate(e.part):
        if not _FEWEST < length <= _LONGEST:
            continue
        keys = [t.movedim(dim, 0).reshape(length, -1)[:, 0].to(e.kind) for t in (e.got, e.want)]
        if not all(bool(k.isfinite().all()) for k in keys) or keys[1].unique().numel() < length:
            continue
        (y, from_y), (w, from_w) = (k.sort() for k in keys)
        if not bool(e.close(y, w).all()):
            continue
        source = torch.empty(length, dtype=torch.long)
        source[from_y] = from_w
        if _is(e, e.got, e.want.index_select(dim, source)):
            moved = (source != torch.arange(length)).nonzero().view(-1)
            examples = ", ".join(f"index {int(i)} holds the values of index {int(source[i])}" for i in moved[:4])
            return (
                f"The indices of dimension {dim} are in another order: {examples}{', ...' if len(moved) > 4 else ''}."
            )
    return ""
