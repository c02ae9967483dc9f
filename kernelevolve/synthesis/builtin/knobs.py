"""Knobs: the named decisions of a schedule, each with the values that it may take."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from kernelevolve.core.kernel import KnobValue


@dataclass(frozen=True)
class Knob:
    """One decision."""

    name: str
    """The name of the knob."""
    domain: tuple[KnobValue, ...]
    """The values that it may take."""
    ordered: bool = False
    """Whether neighbours in the domain are similar. A mutation then moves by one or two steps."""


Space = Mapping[str, Knob]


class Choices:
    """The chosen values of knobs, with the default for all others.

    Planning picks each knob when it meets the decision. The space of a program is therefore what one planning run has picked.
    """

    def __init__(self, chosen: Mapping[str, KnobValue] | None = None) -> None:
        self._chosen = dict(chosen or {})
        self.space: dict[str, Knob] = {}
        self.values: dict[str, KnobValue] = {}

    def pick(self, name: str, *domain: KnobValue, ordered: bool = False) -> KnobValue:
        """Return the chosen value if it is legal, else the first of the domain, which is the default."""
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
    """Return another value of a knob: mostly a near one if the domain is ordered, else any."""
    others = [v for v in knob.domain if v != value]
    if not others:
        return value
    if knob.ordered and value in knob.domain and rng.random() < 0.75:
        place = knob.domain.index(value)
        reach = [i for i in (place - 2, place - 1, place + 1, place + 2) if 0 <= i < len(knob.domain)]
        near = [i for i in reach if abs(i - place) == 1]
        return knob.domain[rng.choice(near if near and rng.random() < 0.7 else reach)]
    return rng.choice(others)
