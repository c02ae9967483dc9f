"""Choice of hidden sizes: 1, odd primes, powers of two plus or minus one, and more than twice the main size."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from evaluators.correctness.inputs.groups import SizeGroup

Sizes = Mapping[int, int]
"""The sizes of free groups: the index of a group -> its n."""

_TRIES = 4
"""The number of sizes of the preferred kind that are tried for a group."""
_MAX_PRIMES = 4096
"""The length of the range of numbers in which primes and larger sizes are looked for."""


def hidden_sizes(
    groups: Sequence[SizeGroup],
    count: int,
    seed: int,
    elements: Callable[[Sizes], int],
    max_elements: int,
    legal: Callable[[Sizes], bool],
) -> list[Sizes]:
    """Choose new sizes for the free groups.

    No chosen n occurs in the main inputs or the variants. Each group cycles through the kinds of sizes from a start of its own.

    Args:
        groups: All groups of dimensions.
        count: The number of assignments of sizes to choose.
        seed: The seed of random choices.
        elements: Returns the amount of memory that all inputs take under an assignment.
        max_elements: The largest amount allowed, in the unit of `elements`.
        legal: Returns whether the model accepts an assignment.

    Returns:
        Up to `count` different assignments; fewer where there are no more.
    """
    rng = random.Random(seed)
    free = [g for g, group in enumerate(groups) if group.free]

    def fits(trial: Mapping[int, int]) -> bool:
        return elements(trial) <= max_elements and legal(trial)

    found: list[Sizes] = []
    for case in range(2 * count):
        if len(found) == count or not free:
            break
        chosen: dict[int, int] = {}
        # Groups that grow are chosen last, when it is known how much room the others leave.
        order = sorted(range(len(free)), key=lambda k: _kind(case + k) is _larger)
        for k in order:
            g = free[k]
            for n in _offers(groups[g], case + k, rng):
                trial = {**chosen, g: n}
                if n > groups[g].size and elements(trial) > max_elements:
                    trial = _shrunk(groups, [h for h in free if h != g], trial, elements, max_elements)
                if fits(trial):
                    chosen = trial
                    break
        if chosen and chosen not in found:
            found.append(chosen)
    return found


def _shrunk(
    groups: Sequence[SizeGroup],
    others: Sequence[int],
    sizes: dict[int, int],
    elements: Callable[[Sizes], int],
    max_elements: int,
) -> dict[int, int]:
    """Return the sizes with the other groups divided so that all inputs fit; unchanged where no divisor suffices."""
    for divisor in (2, 3, 5, 9, 17, 33, 65):
        smaller = {h: max(groups[h].low, sizes.get(h, groups[h].size) // divisor) for h in others}
        smaller = {h: n for h, n in smaller.items() if _fits(groups[h], n)}
        if elements({**sizes, **smaller}) <= max_elements:
            return {**sizes, **smaller}
    return sizes


def _offers(group: SizeGroup, turn: int, rng: random.Random) -> Iterator[int]:
    """Yield a few sizes of the preferred kind, then of the other kinds, then some that keep a common divisor."""
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


def _fits(group: SizeGroup, n: int) -> bool:
    return group.low <= n <= group.high and n not in group.seen


def _one(_group: SizeGroup) -> list[int]:
    return [1]


def _primes(group: SizeGroup) -> list[int]:
    """Return odd primes below the main size, at least a third of it if there are any."""
    low = max(3, group.low, group.size // 3, group.size - _MAX_PRIMES)
    found = [n for n in range(low, group.size) if _is_prime(n)]
    return found or [n for n in range(3, min(group.size, 100)) if _is_prime(n)]


def _off_powers(group: SizeGroup) -> list[int]:
    powers = [1 << k for k in range(2, group.high.bit_length() + 1)][-3:]
    return [n for p in powers for n in (p - 1, p + 1)]


def _larger(group: SizeGroup) -> list[int]:
    """Return sizes of more than twice the main size, or as large as allowed, that are not multiples of 8.

    A table that was allocated for the main size, or twice it, is too small for them.
    """
    most = min(group.high, 2 * group.size + max(3, group.size // 8))
    start = max(group.size + 1, min(2 * group.size + 1, most - max(3, group.size // 8)), most - _MAX_PRIMES)
    return [n for n in range(start, most + 1) if n % 8]


def _less_large(group: SizeGroup) -> list[int]:
    """Return sizes for groups for which twice the main size takes too much memory."""
    return [(k * group.size // 8) | 1 for k in (14, 12, 11, 10, 9)]


_KINDS = (_primes, _larger, _one, _off_powers)


def _kind(turn: int) -> Callable[[SizeGroup], list[int]]:
    """Return the function that lists the sizes of the preferred kind."""
    return _KINDS[turn % len(_KINDS)]


def _is_prime(n: int) -> bool:
    return n > 2 and n % 2 == 1 and all(n % d for d in range(3, math.isqrt(n) + 1, 2))
