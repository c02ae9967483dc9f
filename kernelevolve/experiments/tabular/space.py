"""A part of the built-in operator's space for a task: some knobs with some of their values, all others as they are by default."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import KnobValue
from kernelevolve.synthesis.builtin.base import Written
from kernelevolve.synthesis.builtin.knobs import Knob

Write = Callable[[Mapping[str, KnobValue]], Written]
"""The kernel at a point, the operator's default for any knob that the point does not name."""
_MOST_POINTS = 1 << 20
ALL = "all"


@dataclass(frozen=True)
class Part:
    """Of a space: these knobs, with these values; and which of them the operator would choose."""

    knobs: tuple[Knob, ...]
    default: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(knob.domain) for knob in self.knobs)

    def points(self) -> Iterator[tuple[tuple[int, ...], dict[str, KnobValue]]]:
        """(places in the domains, values), each once."""
        for at in itertools.product(*map(range, self.shape)):
            yield at, {knob.name: knob.domain[place] for knob, place in zip(self.knobs, at, strict=True)}


def part_of(wanted: Mapping[str, Sequence[str]], write: Write) -> Part:
    """The part that a user named: knob -> values as text, or `all`.

    Raises UserError for what the operator has no knob or value for, and for a part with too many points.
    """
    met, chosen = _met(write, wanted)
    for name in wanted:
        if name not in met:
            raise UserError(f"there is no knob {name} here: one of {', '.join(sorted(met))}")
    knobs = [_restricted(met[name], texts) for name, texts in wanted.items()]
    size = math.prod(len(knob.domain) for knob in knobs)
    if size > _MOST_POINTS:
        raise UserError(f"{size} points: name fewer values, or fewer knobs; at most {_MOST_POINTS}")
    default = (knob.domain.index(chosen[knob.name]) if chosen.get(knob.name) in knob.domain else 0 for knob in knobs)
    return Part(tuple(knobs), tuple(default))


def knobs_of(write: Write) -> dict[str, Knob]:
    """Every knob that the default kernel has, or one that differs from it in one knob."""
    return _met(write, {})[0]


def _met(write: Write, wanted: Mapping[str, object]) -> tuple[dict[str, Knob], dict[str, KnobValue]]:
    """(knobs, values of the default). Some knobs are there only where another one has a certain value."""
    plain = write({})
    met, chosen = dict(plain.space), dict(plain.kernel.knobs)
    for name, knob in sorted(plain.space.items()):
        if wanted and all(one in met for one in wanted):
            break
        for value in knob.domain:
            other = write({name: value})
            for further in other.space:
                if further not in met:
                    met[further] = other.space[further]
                    chosen[further] = other.kernel.knobs[further]
    return met, chosen


def _restricted(knob: Knob, texts: Sequence[str]) -> Knob:
    if list(texts) == [ALL]:
        return knob
    by_text = {_text(value): value for value in knob.domain}
    for text in texts:
        if text not in by_text:
            raise UserError(f"{knob.name}={text}: the knob takes {', '.join(by_text)}")
    kept = {by_text[text] for text in texts}
    return Knob(knob.name, tuple(value for value in knob.domain if value in kept), knob.ordered)


def _text(value: KnobValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, eq=False)
class Kernels:
    """The distinct kernels of a part, in the order in which they are met."""

    row_of: np.ndarray
    """As `Table`'s."""
    written: tuple[Written, ...]
    """By row."""


def kernels_of(part: Part, write: Write, told: Callable[[int], None] = lambda _: None) -> Kernels:
    """Write every point. `told` hears after each how many are done."""
    row_of = np.zeros(part.shape, dtype=np.int32)
    rows: dict[str, int] = {}
    found: list[Written] = []
    for number, (at, point) in enumerate(part.points(), 1):
        written = write(point)
        if written.kernel.id not in rows:
            rows[written.kernel.id] = len(found)
            found.append(written)
        row_of[at] = rows[written.kernel.id]
        told(number)
    return Kernels(row_of, tuple(found))


def place_of(part: Part, written: Written) -> list[int]:
    """Of each knob the place of a kernel's value; -1 where the kernel has no such knob, or another value than the part has."""
    knobs = written.kernel.knobs
    return [
        knob.domain.index(knobs[knob.name]) if knob.name in knobs and knobs[knob.name] in knob.domain else -1
        for knob in part.knobs
    ]
