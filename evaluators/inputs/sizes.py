"""Which hidden sizes: 1, odd primes, one off a power of two, a bit more than the main size."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from evaluators.inputs.groups import Group

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
    found: list[Sizes] = []
    for case in range(2 * count):
        if len(found) == count or not free:
            break
        chosen: dict[int, int] = {}
        for order, g in enumerate(free):
            for n in _offers(groups[g], case + order, rng):
                trial = {**chosen, g: n}
                if elements(trial) <= most_elements and legal(trial):
                    chosen = trial
                    break
        if chosen and chosen not in found:
            found.append(chosen)
    return found


def _offers(group: Group, turn: int, rng: random.Random) -> Iterator[int]:
    """A few sizes of the kind whose turn it is, then of the other kinds, then some that keep a common divisor."""
    kinds = (_primes, _larger, _one, _off_powers)
    for k in range(len(kinds)):
        offers = [n for n in kinds[(turn + k) % len(kinds)](group) if _fits(group, n)]
        yield from rng.sample(offers, min(_TRIES if k == 0 else 1, len(offers)))
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
    most = min(group.high, group.size + max(3, group.size // 8))
    start = max(group.size + 1, most - _MOST_PRIMES)
    return [n for n in range(start, most + 1) if n % 8]


def _is_prime(n: int) -> bool:
    return n > 2 and n % 2 == 1 and all(n % d for d in range(3, math.isqrt(n) + 1, 2))
