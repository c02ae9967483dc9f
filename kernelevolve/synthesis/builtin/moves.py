"""Moves from point to point of a space of knobs: what a draft, a mutation and a crossover choose, whoever writes the kernel there."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from kernelevolve.core.kernel import KnobValue
from kernelevolve.synthesis.builtin.knobs import Space, moved

Point = Mapping[str, KnobValue]


@dataclass(frozen=True)
class KnobMove:
    """Where it leads, and what it changed, in a line for a person."""

    point: Point
    note: str


def drafted(default: Point, space: Space, most: int, rng: random.Random) -> KnobMove:
    """From the default, with 1 to `most` knobs moved."""
    return changed(default, space, rng.randint(1, max(1, most)), rng)


def mutated(point: Point, space: Space, most: int, rng: random.Random) -> KnobMove:
    """One knob moved in half of the cases, else 1 to `most`."""
    return changed(point, space, 1 if rng.random() < 0.5 else rng.randint(1, max(1, most)), rng)


def crossed(first: Point, second: Point, space: Space, mutation: float, rng: random.Random) -> KnobMove:
    """Each knob that differs from either with equal chance. With the probability `mutation`, and where nothing came from the second,
    one more is moved. `space`: around the first."""
    chosen = dict(first)
    differing = sorted(name for name, value in second.items() if chosen.get(name) != value)
    taken = [name for name in differing if rng.random() < 0.5]
    chosen.update({name: second[name] for name in taken})
    note = f"{len(taken)} of {len(differing)} differing knobs from the second parent"
    if not taken or rng.random() < mutation:
        name = rng.choice(_movable(space))
        value = moved(space[name], chosen[name], rng)
        note += f", {name} {chosen[name]} -> {value}"
        chosen[name] = value
    return KnobMove(chosen, note)


def changed(point: Point, space: Space, moves: int, rng: random.Random) -> KnobMove:
    """So many knobs moved, fewer where there are fewer."""
    chosen, notes, names = dict(point), [], _movable(space)
    for name in rng.sample(names, min(moves, len(names))):
        value = moved(space[name], chosen[name], rng)
        notes.append(f"{name} {chosen[name]} -> {value}")
        chosen[name] = value
    return KnobMove(chosen, ", ".join(notes))


def _movable(space: Space) -> list[str]:
    return [name for name in sorted(space) if len(space[name].domain) > 1]
