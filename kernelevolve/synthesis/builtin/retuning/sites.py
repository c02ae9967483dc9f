"""Sites: tunable values in a text. Names and values decide what is tunable and which other values are plausible."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kernelevolve.core.kernel import KnobValue


@dataclass(frozen=True)
class Site:
    """A value in a text, which the characters from `start` to before `end` spell."""

    name: str
    kind: str
    value: KnobValue
    start: int
    end: int
    domain: tuple[KnobValue, ...]
    """The value and the other plausible ones, in order. There are at least two."""


_TILE_WORDS = frozenset(
    [
        "tile",
        "tiles",
        "block",
        "unroll",
        "chunk",
        "vec",
        "simd",
        "lanes",
        "vlen",
        "step",
        "grain",
        "grainsize",
        "prefetch",
        "panel",
        "strip",
        "stripe",
        "threads",
        "warps",
        "stages",
        "splitk",
        "nthreads",
    ]
)
_COUNTED = frozenset({"threads", "warps", "stages"})
"""The nouns whose number is the author's choice, as in `NUM_THREADS`. The number of anything else follows from the problem."""
_SWITCHES = frozenset({"use", "enable", "with"})
_LARGEST = 1 << 16
_FIXED: Mapping[str, tuple[int, ...]] = {"num_warps": (1, 2, 4, 8, 16), "num_stages": (1, 2, 3, 4, 5)}


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def is_tile_name(name: str) -> bool:
    """Return whether a constant of this name is a choice of the kernel's author rather than a part of the problem."""
    words = _words(name)
    if words and words[0] in {"n", "num", "total", "count"}:
        return bool(_COUNTED & set(words))
    return bool(_TILE_WORDS & set(words))


def is_switch_name(name: str) -> bool:
    """Return whether 0 and 1 of a constant of this name mean off and on."""
    return bool(_words(name)[:1]) and _words(name)[0] in _SWITCHES


def sizes_around(value: int, *, zero: bool = False) -> tuple[int, ...]:
    """Return `value` and the powers of two from a quarter to four times `value`. For 0, return small ones."""
    if value == 0:
        return (0, 1, 2, 4, 8)
    near = {value}
    power = 1
    while power <= min(4 * value, _LARGEST):
        if 4 * power >= value:
            near.add(power)
        power *= 2
    return tuple(sorted(near | ({0} if zero else set())))


def constant_domain(name: str, value: bool | int) -> tuple[KnobValue, ...]:
    """Return the plausible values of a constant, or none if it is not tunable."""
    if isinstance(value, bool):
        return (False, True) if is_tile_name(name) or is_switch_name(name) else ()
    if name in _FIXED:
        return tuple(sorted({*_FIXED[name], value}))
    if is_switch_name(name):
        return (0, 1) if value in {0, 1} else ()
    if not is_tile_name(name):
        return ()
    if "prefetch" in _words(name):
        return sizes_around(value, zero=True) if 0 <= value <= _LARGEST else ()
    return sizes_around(value) if 1 <= value <= _LARGEST else ()
