"""Groups of dimensions that change together, and what holds them together."""

from __future__ import annotations

from dataclasses import dataclass

from evaluators.correctness.inputs.relations import Jagged, Relation


@dataclass(frozen=True)
class Place:
    """Dimension `dim` of input `source` has the size `scale` * n + `shift`, with the n of its group."""

    source: int
    dim: int
    scale: int = 1
    shift: int = 0

    def size(self, n: int) -> int:
        return self.scale * n + self.shift


@dataclass(frozen=True)
class Group:
    """Dimensions that change together."""

    places: tuple[Place, ...]
    size: int
    """Its n in the main inputs."""
    low: int
    high: int
    """The range of legal n."""
    free: bool
    why: str
    """Short: why it is free, why it is fixed, or what it follows."""
    follows: bool = False
    """It is the number of values of a jagged input, and follows from the number of rows."""
    seen: frozenset[int] = frozenset()
    """The n of the main inputs and the variants."""

    def describe(self) -> str:
        """Such as `x0[0], x2[0] (1024): free, it varies over the variants`."""
        places = ", ".join(f"x{p.source}[{p.dim}]" for p in self.places)
        state = "" if self.follows else "free, " if self.free else "fixed, "
        return f"{places} ({self.size}): {state}{self.why}"


@dataclass(frozen=True)
class Dimensions:
    """All groups of a task, and the relations that a new input keeps."""

    groups: tuple[Group, ...]
    relations: frozenset[Relation]

    def group_of(self, source: int, dim: int) -> int:
        """The index of the group of a dimension. Raises KeyError where there is no such dimension."""
        for g, group in enumerate(self.groups):
            if any((p.source, p.dim) == (source, dim) for p in group.places):
                return g
        raise KeyError((source, dim))

    def rows_of(self, total: int) -> list[int]:
        """The groups of rows that the group of values with this index follows."""
        jagged = [r for r in self.relations if isinstance(r, Jagged)]
        return sorted({self.group_of(r.source, 0) for r in jagged if self.group_of(r.target, r.dim) == total})
