"""Groups of dimensions whose sizes change together."""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.correctness.inputs.relations import Jagged, Relation


@dataclass(frozen=True)
class Place:
    """A dimension of an input whose size is `scale` * n + `shift`, where n is the size of its group."""

    source: int
    """The index of the input."""
    dim: int
    """The index of the dimension."""
    scale: int = 1
    shift: int = 0

    def size(self, n: int) -> int:
        """Return the size of the dimension for the size n of the group."""
        return self.scale * n + self.shift


@dataclass(frozen=True)
class SizeGroup:
    """Dimensions whose sizes change together, as functions of one size n."""

    places: tuple[Place, ...]
    """The dimensions of the group."""
    size: int
    """The n of the main inputs."""
    low: int
    """The smallest legal n."""
    high: int
    """The largest legal n."""
    free: bool
    """Whether hidden shapes may change n."""
    why: str
    """The reason why the group is free or fixed, or what it follows, as a phrase."""
    follows: bool = False
    """Whether n is the number of values of a jagged input, which follows from the number of its rows."""
    seen: frozenset[int] = frozenset()
    """The values of n in the main inputs and the variants."""

    def describe(self) -> str:
        """Return a description such as `x0[0], x2[0] (1024): free, it varies over the variants`."""
        places = ", ".join(f"x{p.source}[{p.dim}]" for p in self.places)
        state = "" if self.follows else "free, " if self.free else "fixed, "
        return f"{places} ({self.size}): {state}{self.why}"


@dataclass(frozen=True)
class Dimensions:
    """The groups of dimensions of a task's inputs."""

    groups: tuple[SizeGroup, ...]
    """All groups."""
    relations: frozenset[Relation]
    """The relations between inputs that derived inputs must keep."""

    def group_of(self, source: int, dim: int) -> int:
        """Return the index of the group of a dimension. Raises KeyError where there is no such dimension."""
        for g, group in enumerate(self.groups):
            if any((p.source, p.dim) == (source, dim) for p in group.places):
                return g
        raise KeyError((source, dim))

    def rows_of(self, total: int) -> list[int]:
        """Return the indices of the groups of rows that a group of values follows.

        Args:
            total: The index of the group of values.
        """
        jagged = [r for r in self.relations if isinstance(r, Jagged)]
        return sorted({self.group_of(r.source, 0) for r in jagged if self.group_of(r.target, r.dim) == total})
