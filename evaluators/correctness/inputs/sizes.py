"""Which hidden sizes: 1, odd primes, one off a power of two, more than twice the main size."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from evaluators.correctness.inputs.groups import Group

Sizes = Mapping[int, int]
"""Index of a free group -> its n."""

_TRIES = 4
_MOST_PRIMES = 4096
"""Primes are looked for in a window of this many numbers."""


def hidden_sizes(
    groups: Sequence[Group],
    count: int,
    seed: int,
    elements: Callable[[Sizes], int],
    most_elements: int,
    legal: Callable[[Sizes], bool],
) -> list[Sizes]:
    """Up to `count` assignments of new sizes to all free groups, no two equal; fewer where there are no more.

    No n is one of those that the main inputs and the variants show. Each group goes round the kinds of sizes, every one from
    another start. `elements`: of all inputs together under an assignment, at most `most_elements`. `legal`: whether the model
    takes it.
    """
    rng = random.Random(seed)
    free = [g for g, group in enumerate(groups) if group.free]

    def fits(trial: Mapping[int, int]) -> bool:
        return elements(trial) <= most_elements and legal(trial)

    found: list[Sizes] = []
    for case in range(2 * count):
        if len(found) == count or not free:
            break
        chosen: dict[int, int] = {}
        # What grows comes last: it then knows how small the others are.
        order = sorted(range(len(free)), key=lambda k: _kind(case + k) is _larger)
        for k in order:
            g = free[k]
            for n in _offers(groups[g], case + k, rng):
                trial = {**chosen, g: n}
                if n > groups[g].size and elements(trial) > most_elements:
                    trial = _shrunk(groups, [h for h in free if h != g], trial, elements, most_elements)
                if fits(trial):
                    chosen = trial
                    break
        if chosen and chosen not in found:
            found.append(chosen)
    return found


def _shrunk(
    groups: Sequence[Group],
    others: Sequence[int],
    sizes: dict[int, int],
    elements: Callable[[Sizes], int],
    most_elements: int,
) -> dict[int, int]:
    """The same with the other groups as much smaller as leaves room; as it is where there is none."""
    for divisor in (2, 3, 5, 9, 17, 33, 65):
        smaller = {h: max(groups[h].low, sizes.get(h, groups[h].size) // divisor) for h in others}
        smaller = {h: n for h, n in smaller.items() if _fits(groups[h], n)}
        if elements({**sizes, **smaller}) <= most_elements:
            return {**sizes, **smaller}
    return sizes


def _offers(group: Group, turn: int, rng: random.Random) -> Iterator[int]:
    """A few sizes of the kind whose turn it is, then of the other kinds, then some that keep a common divisor."""
    for k in range(len(_KINDS)):
        offers = [n for n in _kind(turn + k)(group) if _fits(group, n)]
        yield from rng.sample(offers, min(_TRIES if k == 0 else 1, len(offers)))
        if k == 0 and _kind(turn) is _larger:
            yield from (n for n in _less_large(group) if _fits(group, n))
    for divisor in (2, 4, 8, 16, 32, 64):
        part = group.size // divisor
        if group.size % divisor == 0:
            offers = [k * part for k in range(1, 2 * divisor, 2) if _fits(group, k * part)]
            yield from rng.sample(offers, min(1, len(offers)))


def _fits(group: Group, n: int) -> bool:
    return group.low <= n <= group.high and n not in group.seen


def _one(_group: Group) -> list[int]:
    return [1]


def _primes(group: Group) -> list[int]:
    """Odd primes below the main size, from a third of it on where there are some."""
    low = max(3, group.low, group.size // 3, group.size - _MOST_PRIMES)
    found = [n for n in range(low, group.size) if _is_prime(n)]
    return found or [n for n in range(3, min(group.size, 100)) if _is_prime(n)]


def _off_powers(group: Group) -> list[int]:
    powers = [1 << k for k in range(2, group.high.bit_length() + 1)][-3:]
    return [n for p in powers for n in (p - 1, p + 1)]


def _larger(group: Group) -> list[int]:
    """More than twice the main size, which no table that was made for it holds, or as much more as may be; no multiples of 8."""
    most = min(group.high, 2 * group.size + max(3, group.size // 8))
    start = max(group.size + 1, min(2 * group.size + 1, most - max(3, group.size // 8)), most - _MOST_PRIMES)
    return [n for n in range(start, most + 1) if n % 8]


def _less_large(group: Group) -> list[int]:
    """Where memory is too short for twice the main size."""
    return [(k * group.size // 8) | 1 for k in (14, 12, 11, 10, 9)]


_KINDS = (_primes, _larger, _one, _off_powers)


def _kind(turn: int) -> Callable[[Group], list[int]]:
    """Whose turn it is."""
    return _KINDS[turn % len(_KINDS)]


def _is_prime(n: int) -> bool:
    return n > 2 and n % 2 == 1 and all(n % d for d in range(3, math.isqrt(n) + 1, 2))
