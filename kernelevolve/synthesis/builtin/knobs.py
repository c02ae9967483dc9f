"""The schedule of a synthesised kernel: named values, each with the values that it may take."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from kernelevolve.core.kernel import KnobValue


@dataclass(frozen=True)
class Knob:
    """One decision. The first value of the domain is the default."""

    name: str
    domain: tuple[KnobValue, ...]
    ordered: bool = False
    """Neighbours in the domain are alike: a mutation moves by a step or two."""


Space = Mapping[str, Knob]


class Choices:
    """Values for knobs, falling back to the default for those that were not chosen; remembers which were asked for.

    Planning asks for knobs as it meets decisions, so the space of a program is what one planning run has asked for.
    """

    def __init__(self, chosen: Mapping[str, KnobValue] | None = None) -> None:
        self._chosen = dict(chosen or {})
        self.space: dict[str, Knob] = {}
        self.values: dict[str, KnobValue] = {}

    def pick(self, name: str, *domain: KnobValue, ordered: bool = False) -> KnobValue:
        """The chosen value where it is legal, else the first of the domain."""
        unique = tuple(dict.fromkeys(domain))
        self.space[name] = Knob(name, tuple(sorted(unique)) if ordered else unique, ordered)
        value = self._chosen.get(name, domain[0])
        if value not in unique or isinstance(value, bool) != isinstance(domain[0], bool):
            value = domain[0]
        self.values[name] = value
        return value

    def number(self, name: str, *domain: int) -> int:
        return int(self.pick(name, *domain, ordered=True))

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.pick(name, default, not default))

    def word(self, name: str, *domain: str) -> str:
        return str(self.pick(name, *domain))


def moved(knob: Knob, value: KnobValue, rng: random.Random) -> KnobValue:
    """Another value: a near one where the domain is ordered, any other where it is not."""
    others = [v for v in knob.domain if v != value]
    if not others:
        return value
    if knob.ordered and value in knob.domain and rng.random() < 0.75:
        place = knob.domain.index(value)
        reach = [i for i in (place - 2, place - 1, place + 1, place + 2) if 0 <= i < len(knob.domain)]
        near = [i for i in reach if abs(i - place) == 1]
        return knob.domain[rng.choice(near if near and rng.random() < 0.7 else reach)]
    return rng.choice(others)
