"""Descriptions of where the wrong elements are: along each dimension, in the plane of the last two, in memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from evaluators.correctness.mismatch.evidence import Evidence, Mask

_LISTED = 6
"""The largest number of indices that are listed one by one."""
_LONGEST_PERIOD = 1024
"""The longest period that is looked for, in indices or elements."""
_CHANCE = 1e-6
"""The probability of a form by chance below which it is reported."""


def where_they_are(evidence: Evidence) -> str:
    """Return a sentence that is true of every wrong element examined; empty where the places have no form."""
    if evidence.all_wrong or not evidence.count:
        return ""
    hits = _hits(evidence.mask)
    volume = math.prod(int(h.sum()) for h in hits)
    forms: tuple[Callable[[], str], ...] = (
        lambda: _box(hits, evidence.count) if evidence.count == volume else _but_one(hits, evidence.count),
        lambda: _triangle(evidence.mask, evidence.count, volume),
        lambda: _end_of_memory(evidence, volume),
        lambda: _box(hits, evidence.count),
        lambda: _every_nth(evidence),
    )
    return next(filter(None, (form() for form in forms)), "")


def _box(hits: list[Mask], count: int) -> str:
    """Describe the wrong indices of each dimension, where all or most of the elements at these indices are wrong."""
    volume = math.prod(int(h.sum()) for h in hits)
    ranges = [f"{_indices(h)} of dimension {d} (of {len(h)})" for d, h in enumerate(hits) if not h.all()]
    if not ranges:
        return ""
    if 2 * count < volume:
        # Scattered errors may lie within half of a dimension by chance, but only if they are few.
        share = volume / math.prod(len(h) for h in hits)
        ways = math.prod(len(h) ** 2 for h in hits)
        regular = all(_form(h) for h in hits if not h.all())
        if not regular or count * math.log(share) + math.log(ways) > math.log(_CHANCE):
            return ""
    start = "The wrong elements are exactly those at" if count == volume else "All wrong elements are at"
    return _but_one(hits, count) or f"{start} {' and '.join(ranges)}."


def _but_one(hits: list[Mask], count: int) -> str:
    """Describe a result in which only the first or the last index of one dimension is right."""
    held = [(d, h) for d, h in enumerate(hits) if not h.all()]
    if len(held) != 1 or 2 * count < math.prod(int(h.sum()) for h in hits):
        return ""
    dim, hit = held[0]
    if len(hit) < 3 or int(hit.sum()) != len(hit) - 1 or (hit[0] and hit[-1]):
        return ""
    return f"Only index {int(hit.argmin())} of dimension {dim} (of {len(hit)}) is right."


def _hits(mask: Mask) -> list[Mask]:
    """Return, for each dimension, which indices hold a wrong element."""
    if mask.ndim == 1:
        return [mask]
    rows: Mask = np.any(mask, axis=-1)
    last: Mask = np.any(mask.reshape(-1, mask.shape[-1]), axis=0)
    return [*_hits(rows), last]


def _indices(hit: Mask) -> str:
    """Return a phrase for the indices of one dimension."""
    return _form(hit) or _list(hit)


def _form(hit: Mask) -> str:
    """Return a phrase for a range, a period or a border; empty where the indices have no such form."""
    n, places = len(hit), np.flatnonzero(hit)
    first, last, count = int(places[0]), int(places[-1]), len(places)
    if count == 1:
        return f"index {first}, the last," if first == n - 1 else f"index {first}"
    if last - first + 1 == count:
        if last == n - 1:
            return f"indices {first} to {last}, the end{_left_over(n, first)},"
        return f"indices {first} to {last}"
    if period := _period(hit):
        residues = np.flatnonzero(hit[:period])
        if len(residues) == 1:
            return f"every {_ordinal(period)} index, from {first} on,"
        if residues[-1] - residues[0] + 1 == len(residues):
            return f"indices i with i % {period} from {residues[0]} to {residues[-1]}"
        if len(residues) <= _LISTED:
            return f"indices i with i % {period} in {residues.tolist()}"
    right = np.flatnonzero(~hit)
    if hit[0] and hit[-1] and right[-1] - right[0] + 1 == len(right):
        return f"the border: the first {right[0]} and the last {n - 1 - right[-1]} indices"
    return ""


def _left_over(length: int, first: int) -> str:
    """Return a phrase for the tile sizes whose partial last tile starts at `first`; empty where there are none."""
    tiles = [t for t in (4, 8, 16, 32, 64, 128, 256, 512, 1024) if length % t and length - length % t == first]
    if not tiles:
        return ""
    return f", the partial last tile for tiles of {' or '.join(map(str, tiles))}"


def _period(hit: Mask) -> int:
    """Return the shortest period that occurs at least three times; 0 where there is none."""
    first = int(hit.argmax())
    longest = min(len(hit) // 3, _LONGEST_PERIOD)
    for step in np.flatnonzero(hit[first + 1 : first + longest + 1]):
        period = int(step) + 1
        near = hit[first : first + 4 * _LONGEST_PERIOD]
        if period > 1 and (near[period:] == near[:-period]).all() and (hit[period:] == hit[:-period]).all():
            return period
    return 0


def _list(hit: Mask) -> str:
    places = np.flatnonzero(hit)
    if len(places) <= _LISTED:
        return f"indices {', '.join(map(str, places))}"
    right = np.flatnonzero(~hit)
    if len(right) <= _LISTED:
        return f"all indices but {', '.join(map(str, right))}"
    return f"{len(places)} indices from {places[0]} to {places[-1]}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _triangle(mask: Mask, count: int, volume: int) -> str:
    """Describe wrong elements above, below or on the diagonal of the last two dimensions.

    Only where these are fewer elements than the `volume` that ranges of indices describe.
    """
    if mask.ndim < 2 or min(mask.shape[-2:]) < 3:
        return ""
    rows, columns = mask.shape[-2:]
    planes = mask.reshape(-1, rows, columns)
    above, below = bool(planes[:, 0, -1].any()), bool(planes[:, -1, 0].any())
    if not (above and below):
        forms = (("below", 1), ("on or below", 0)) if below else (("above", 1), ("on or above", 0))
        for words, offset in forms:
            size = len(planes) * _triangular(*((columns, rows) if below else (rows, columns)), offset)
            if not count <= size < min(2 * count, volume):
                continue
            form = np.tri(rows, columns, -offset, np.bool_) if below else ~np.tri(rows, columns, offset - 1, np.bool_)
            if not (planes.any(axis=0) & ~form).any():
                start = "The wrong elements are exactly those" if count == size else "All wrong elements are"
                return f"{start} {words} the diagonal of the last two dimensions."
    if (
        count == min(rows, columns) * len(planes)
        and planes[:, range(min(rows, columns)), range(min(rows, columns))].all()
    ):
        return "The wrong elements are exactly the diagonal of the last two dimensions."
    return ""


def _triangular(rows: int, columns: int, offset: int) -> int:
    """Return the number of elements of a matrix above the diagonal, including the diagonal where the offset is 0."""
    return int(np.maximum(columns - offset - np.arange(rows), 0).sum())


def _end_of_memory(evidence: Evidence, volume: int) -> str:
    """Describe wrong elements at the end of memory, where these are fewer than the `volume` that ranges of indices describe."""
    flat = evidence.bad.numpy()
    first = int(flat.argmax())
    behind = evidence.total - first
    right = 1 - evidence.count / behind
    if evidence.mask.ndim < 2 or behind < 3 or behind >= volume or right > 0.1:
        return ""
    if right and first * math.log(right) + math.log(evidence.total) > math.log(_CHANCE):
        return ""
    return (
        f"The first {first} elements in memory order are right; of the {behind} after them"
        f"{_left_over(evidence.total, first)}, {evidence.count} are wrong."
    )


def _every_nth(evidence: Evidence) -> str:
    """Describe elements that are wrong periodically in memory order."""
    flat = evidence.bad.numpy()
    period = _period(flat) if evidence.mask.ndim > 1 else 0
    residues = np.flatnonzero(flat[:period])
    if len(residues) != 1:
        return ""
    return f"Every {_ordinal(period)} element in memory order is wrong, from index {residues[0]} on."
