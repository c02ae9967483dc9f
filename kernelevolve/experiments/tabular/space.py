"""A part of the built-in operator's space for a task: some values of some knobs; all other knobs have their default."""

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
"""A function that writes the kernel at a point. Knobs that the point does not name have the operator's default."""
_MAX_POINTS = 1 << 20
"""The maximum number of points of a part."""
ALL = "all"


@dataclass(frozen=True)
class Part:
    """A part of a space."""

    knobs: tuple[Knob, ...]
    """The knobs with the values that they take."""
    default: tuple[int, ...]
    """For each knob, the index of the operator's default in its domain."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values of each knob."""
        return tuple(len(knob.domain) for knob in self.knobs)

    def points(self) -> Iterator[tuple[tuple[int, ...], dict[str, KnobValue]]]:
        """Yield each point as (indices in the domains, values by knob)."""
        for at in itertools.product(*map(range, self.shape)):
            yield at, {knob.name: knob.domain[place] for knob, place in zip(self.knobs, at, strict=True)}


def part_of(wanted: Mapping[str, Sequence[str]], write: Write) -> Part:
    """Return the part that a user named.

    Args:
        wanted: Knob -> values as text, or `all`.
        write: Writes the kernel at a point.

    Raises:
        UserError: A knob or value does not exist, or the part has too many points.
    """
    known, chosen = _discovered(write, wanted)
    for name in wanted:
        if name not in known:
            raise UserError(f"there is no knob {name} here: one of {', '.join(sorted(known))}")
    knobs = [_restricted(known[name], texts) for name, texts in wanted.items()]
    size = math.prod(len(knob.domain) for knob in knobs)
    if size > _MAX_POINTS:
        raise UserError(f"{size} points: name fewer values, or fewer knobs; at most {_MAX_POINTS}")
    default = (knob.domain.index(chosen[knob.name]) if chosen.get(knob.name) in knob.domain else 0 for knob in knobs)
    return Part(tuple(knobs), tuple(default))


def knobs_of(write: Write) -> dict[str, Knob]:
    """Return every knob of the default kernel and of the kernels that differ from it in one knob."""
    return _discovered(write, {})[0]


def _discovered(write: Write, wanted: Mapping[str, object]) -> tuple[dict[str, Knob], dict[str, KnobValue]]:
    """Return the knobs and their default values. Some knobs exist only if another knob has a certain value."""
    default = write({})
    known, chosen = dict(default.space), dict(default.kernel.knobs)
    for name, knob in sorted(default.space.items()):
        if wanted and all(one in known for one in wanted):
            break
        for value in knob.domain:
            other = write({name: value})
            for further in other.space:
                if further not in known:
                    known[further] = other.space[further]
                    chosen[further] = other.kernel.knobs[further]
    return known, chosen


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
    """The distinct kernels of a part, in the order of their first points."""

    row_of: np.ndarray
    """The row of each point, as in `Table`."""
    written: tuple[Written, ...]
    """The kernel of each row."""


def kernels_of(part: Part, write: Write, report: Callable[[int], None] = lambda _: None) -> Kernels:
    """Write the kernel of every point. `report` is called with the number of finished points."""
    row_of = np.zeros(part.shape, dtype=np.int32)
    rows: dict[str, int] = {}
    found: list[Written] = []
    for number, (at, point) in enumerate(part.points(), 1):
        written = write(point)
        if written.kernel.id not in rows:
            rows[written.kernel.id] = len(found)
            found.append(written)
        row_of[at] = rows[written.kernel.id]
        report(number)
    return Kernels(row_of, tuple(found))


def place_of(part: Part, written: Written) -> list[int]:
    """Return, for each knob of a part, the index of a kernel's value in the knob's domain.

    The index is -1 if the kernel has no such knob, or another value than those of the part.
    """
    knobs = written.kernel.knobs
    return [
        knob.domain.index(knobs[knob.name]) if knob.name in knobs and knobs[knob.name] in knob.domain else -1
        for knob in part.knobs
    ]
