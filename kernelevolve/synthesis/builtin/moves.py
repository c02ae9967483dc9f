"""Moves from point to point of a space of knobs, for drafts, mutations and crossovers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from kernelevolve.core.kernel import KnobValue
from kernelevolve.synthesis.builtin.knobs import Space, moved

Point = Mapping[str, KnobValue]


@dataclass(frozen=True)
class KnobMove:
    """A move to a point."""

    point: Point
    """The point that it leads to."""
    note: str
    """One line that says what changed."""


def drafted(default: Point, space: Space, most: int, rng: random.Random) -> KnobMove:
    """Return a move from the default that changes 1 to `most` knobs."""
    return changed(default, space, rng.randint(1, max(1, most)), rng)


def mutated(point: Point, space: Space, most: int, rng: random.Random) -> KnobMove:
    """Return a move that changes one knob in half of the cases, else 1 to `most`."""
    return changed(point, space, 1 if rng.random() < 0.5 else rng.randint(1, max(1, most)), rng)


def crossed(first: Point, second: Point, space: Space, mutation: float, rng: random.Random) -> KnobMove:
    """Return a crossover of two points, which takes each differing knob from either with equal probability.

    With probability `mutation`, and if nothing came from the second point, one more knob is moved.

    Args:
        first, second: The points.
        space: The knobs around the first point.
        mutation: The probability of a further move.
        rng: The source of randomness.
    """
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
    """Return a move that changes `moves` knobs, or all if there are fewer."""
    chosen, notes, names = dict(point), [], _movable(space)
    for name in rng.sample(names, min(moves, len(names))):
        value = moved(space[name], chosen[name], rng)
        notes.append(f"{name} {chosen[name]} -> {value}")
        chosen[name] = value
    return KnobMove(chosen, ", ".join(notes))


def _movable(space: Space) -> list[str]:
    return [name for name in sorted(space) if len(space[name].domain) > 1]
