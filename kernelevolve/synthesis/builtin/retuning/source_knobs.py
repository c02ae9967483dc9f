"""Reading and changing the tunable values of any kernel file. No other character of the file changes."""

from __future__ import annotations

import random
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from kernelevolve.core.kernel import KnobValue
from kernelevolve.synthesis.builtin.retuning.python_sites import python_sites

_MAX_MOVES = 3
_MAX_VARIANTS = 2048
_FAR = 0.25
"""The probability that a number moves to any value of its domain rather than by one step."""


@dataclass(frozen=True)
class SourceKnob:
    """A tunable value of one source text.

    `kind` is `define`, `constexpr`, `template`, `pragma` or `flag` in C++ and its flags, and `constant`, `argument`, `default`, `entry`
    or `declared` in Python. The characters of the source from `start` to before `end` spell the value. `line` counts from 1 and
    `column` from 0. `domain` holds the value and the other plausible ones.
    """

    name: str
    """The name, which is unique in its source. Further knobs of the same name are `name#2`, `name#3`, ..."""
    kind: str
    value: KnobValue
    start: int
    end: int
    line: int
    column: int
    domain: tuple[KnobValue, ...]


def read_knobs(source: str, language: str) -> tuple[SourceKnob, ...]:
    """Return the knobs of a kernel file, in the order of the text. Its string literals may hold C++.

    Only values that look like choices of the kernel's author count: sizes of tiles, schedules, unrolling, flags. A text that is no Python
    has none.
    """
    try:
        sites = python_sites(source, language)
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return ()
    seen: Counter[str] = Counter()
    knobs = []
    for site in sites:
        seen[site.name] += 1
        name = site.name if seen[site.name] == 1 else f"{site.name}#{seen[site.name]}"
        line = source.count("\n", 0, site.start) + 1
        column = site.start - (source.rfind("\n", 0, site.start) + 1)
        knobs.append(SourceKnob(name, site.kind, site.value, site.start, site.end, line, column, site.domain))
    return tuple(knobs)


def with_knob(source: str, knob: SourceKnob, value: KnobValue) -> str:
    """Return the source with the value of one knob replaced. Raises ValueError if `value` is of another type."""
    return with_knobs(source, [(knob, value)])


def with_knobs(source: str, changes: Iterable[tuple[SourceKnob, KnobValue]]) -> str:
    """Return the source with the values of several knobs replaced. All of them must have been read from this text."""
    for knob, value in sorted(changes, key=lambda change: change[0].start, reverse=True):
        source = source[: knob.start] + _spelled(source[knob.start : knob.end], knob, value) + source[knob.end :]
    return source


def _spelled(now: str, knob: SourceKnob, value: KnobValue) -> str:
    if type(value) is not type(knob.value):
        raise ValueError(f"knob {knob.name} holds {knob.value!r}: a value of another type, {value!r}, does not fit")
    if isinstance(value, bool):
        return str(value) if now in {"True", "False"} else str(value).lower()
    return str(value)


def mutate(source: str, language: str, rng: random.Random) -> tuple[str, str] | None:
    """Move one to three knobs within their domains. Return the text and one line that says what changed, or None if there is no knob."""
    knobs = [knob for knob in read_knobs(source, language) if len(knob.domain) > 1]
    if not knobs:
        return None
    count = min(len(knobs), 1 + sum(rng.random() < 0.35 for _ in range(_MAX_MOVES - 1)))
    changes = [(knob, _moved(knob, rng)) for knob in sorted(rng.sample(knobs, count), key=lambda k: k.start)]
    return with_knobs(source, changes), ", ".join(f"{knob.name} {knob.value} -> {value}" for knob, value in changes)


def variants(source: str, language: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield every text with other values of the knobs once, in random order, as (text, one line that says what changed).

    If there are more than some thousand, nothing is yielded.
    """
    knobs = [knob for knob in read_knobs(source, language) if len(knob.domain) > 1]
    count = prod(len(knob.domain) for knob in knobs)
    if count > _MAX_VARIANTS:
        return
    for number in rng.sample(range(count), count):
        changes: list[tuple[SourceKnob, KnobValue]] = []
        rest = number
        for knob in knobs:
            rest, place = divmod(rest, len(knob.domain))
            if knob.domain[place] != knob.value:
                changes.append((knob, knob.domain[place]))
        if changes:
            yield with_knobs(source, changes), ", ".join(f"{knob.name} {knob.value} -> {v}" for knob, v in changes)


def _moved(knob: SourceKnob, rng: random.Random) -> KnobValue:
    others = [value for value in knob.domain if value != knob.value]
    at = knob.domain.index(knob.value)
    if isinstance(knob.value, str) or rng.random() < _FAR:
        return rng.choice(others)
    return rng.choice([*knob.domain[max(0, at - 1) : at], *knob.domain[at + 1 : at + 2]])


def crossover(source_a: str, source_b: str, language: str, rng: random.Random) -> tuple[str, str] | None:
    """Give at least one knob of `source_a` the value of the knob of the same name in `source_b`.

    Returns:
        The text and one line that says what changed, or None if no knob of the same name and kind has another value.
    """
    theirs = {(knob.name, knob.kind): knob.value for knob in read_knobs(source_b, language)}
    differing = [
        (knob, theirs[knob.name, knob.kind])
        for knob in read_knobs(source_a, language)
        if (knob.name, knob.kind) in theirs
        and type(theirs[knob.name, knob.kind]) is type(knob.value)
        and theirs[knob.name, knob.kind] != knob.value
    ]
    if not differing:
        return None
    sure = rng.randrange(len(differing))
    taken = [change for i, change in enumerate(differing) if i == sure or rng.random() < 0.5]
    return with_knobs(source_a, taken), "from the other parent: " + ", ".join(f"{k.name} {v}" for k, v in taken)
