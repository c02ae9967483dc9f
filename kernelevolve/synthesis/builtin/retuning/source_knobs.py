"""Reads the tunable values of any kernel file, whoever wrote it, and moves them without touching another character."""

from __future__ import annotations

import random
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from kernelevolve.core.kernel import KnobValue
from kernelevolve.synthesis.builtin.retuning.python_sites import python_sites

_MOST_MOVES = 3
_MOST_VARIANTS = 2048
_FAR = 0.25
"""The share of the moves of a number that go anywhere in its domain rather than one step up or down."""


@dataclass(frozen=True)
class SourceKnob:
    """A tunable value of one source text.

    `kind` says what holds it: `define`, `constexpr`, `template`, `pragma`, `flag` (in C++ and its flags), `constant`,
    `argument`, `default`, `entry`, `declared` (in Python). The characters `start` to `end` (exclusive) of the source
    spell it; `line` counts from 1 and `column` from 0. `domain` holds the value and the plausible others.
    """

    name: str
    """Unique in its source: further ones of the same name are `name#2`, `name#3`, ..."""
    kind: str
    value: KnobValue
    start: int
    end: int
    line: int
    column: int
    domain: tuple[KnobValue, ...]


def read_knobs(source: str, language: str) -> tuple[SourceKnob, ...]:
    """The knobs of a kernel file (Python, which may hold C++ in string literals), in the order of the text.

    Only values that look like choices of the kernel's author count: tile-like names, schedules, unrolling, flags. A text
    that is no Python has none.
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
    """`source` with the knob's value replaced, all else as it was. Raises `ValueError` where `value` is of another type."""
    return with_knobs(source, [(knob, value)])


def with_knobs(source: str, changes: Iterable[tuple[SourceKnob, KnobValue]]) -> str:
    """`source` with several knobs' values replaced; all of them must have been read from this very text."""
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
    """One to three knobs moved within their domains, and a line that says so; None where there is no knob to move."""
    knobs = [knob for knob in read_knobs(source, language) if len(knob.domain) > 1]
    if not knobs:
        return None
    count = min(len(knobs), 1 + sum(rng.random() < 0.35 for _ in range(_MOST_MOVES - 1)))
    changes = [(knob, _moved(knob, rng)) for knob in sorted(rng.sample(knobs, count), key=lambda k: k.start)]
    return with_knobs(source, changes), ", ".join(f"{knob.name} {knob.value} -> {value}" for knob, value in changes)


def variants(source: str, language: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Every text that other values of the knobs give, each once, in an order that `rng` draws, with a line that says what changed.

    None where there are more than some thousand.
    """
    knobs = [knob for knob in read_knobs(source, language) if len(knob.domain) > 1]
    count = prod(len(knob.domain) for knob in knobs)
    if count > _MOST_VARIANTS:
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
    """`source_a` with the values of `source_b` in some of the knobs of the same name, at least one, and a line that says so.

    None where no knob of the same name and kind holds another value.
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
