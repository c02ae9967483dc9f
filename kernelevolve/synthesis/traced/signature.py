"""The arguments and the results of forward, nested as the reference has them, as text of a kernel that knows tensors alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kernelevolve.tasks.structure import Plain, Structure


class Origin(Enum):
    """Where a leaf of a result comes from."""

    GRAPH = "graph"
    """It is a result of the exported graph, of this number."""
    INPUT = "input"
    """It is the input of this number itself."""
    VALUE = "value"
    """It is always the same plain value."""


@dataclass(frozen=True)
class Leaf:
    """One leaf of what forward returns."""

    origin: Origin
    number: int = 0
    value: Plain = None


@dataclass(frozen=True)
class Returned:
    """What forward returns, out of the results of a graph."""

    structure: Structure
    leaves: tuple[Leaf, ...]
    classes: frozenset[str] = frozenset()
    """Names of named tuples that the task's file defines."""

    def text(self, results: Sequence[str], inputs: Sequence[str]) -> str:
        """An expression for it. `results`: expressions of the graph's results; `inputs`: of the leaves of the arguments."""
        texts = []
        for leaf in self.leaves:
            match leaf.origin:
                case Origin.GRAPH:
                    texts.append(results[leaf.number])
                case Origin.INPUT:
                    texts.append(inputs[leaf.number])
                case Origin.VALUE:
                    texts.append(value_text(leaf.value))
        return self._text(self.structure, iter(texts))

    def _text(self, structure: Structure, leaves: Any) -> str:
        if structure.kind == "leaf":
            return str(next(leaves))
        parts = [self._text(part, leaves) for part in structure.parts]
        match structure.kind:
            case "list":
                return f"[{', '.join(parts)}]"
            case "tuple":
                return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
            case "dict":
                return "{" + ", ".join(f"{k!r}: {p}" for k, p in zip(structure.keys, parts, strict=True)) + "}"
        name = structure.name
        if name not in self.classes:
            name = f'__import__("collections").namedtuple({name!r}, {structure.keys!r})'
        return f"{name}({', '.join(parts)})"


@dataclass(frozen=True)
class Arguments:
    """What forward takes. Its leaves are called x0, x1, ... in a kernel."""

    structure: Structure
    """Of the list of arguments."""

    @property
    def leaves(self) -> list[str]:
        """Their names."""
        return [f"x{i}" for i in range(self.structure.leaves)]

    @property
    def parameters(self) -> list[str]:
        """Of forward, without self: a leaf by its name, anything else by one of its own."""
        return [name for name, _, _ in self._places()]

    def unpacking(self) -> list[str]:
        """Statements that give each leaf within a parameter its name."""
        return [
            f"x{first + i} = {name}{path}"
            for name, part, first in self._places()
            if part.kind != "leaf"
            for i, path in enumerate(part.paths())
        ]

    def conditions(self) -> list[str]:
        """Expressions of the parameters that are all true where they are nested as they were when the model was exported."""
        return [c for name, part, _ in self._places() if part.kind != "leaf" for c in _alike(name, part)]

    def _places(self) -> list[tuple[str, Structure, int]]:
        """Of each parameter: its name, its structure, the number of its first leaf."""
        places, first = [], 0
        for i, part in enumerate(self.structure.parts):
            places.append((f"x{first}" if part.kind == "leaf" else f"nested_{i}", part, first))
            first += part.leaves
        return places


def _alike(name: str, structure: Structure) -> list[str]:
    if structure.kind == "leaf":
        return []
    if structure.kind == "dict":
        found = [f"isinstance({name}, dict)", f"list({name}) == {list(structure.keys)!r}"]
    else:
        found = [f"isinstance({name}, {'list' if structure.kind == 'list' else 'tuple'})"]
        found.append(f"len({name}) == {len(structure.parts)}")
    return found + [c for step, part in structure.steps() for c in _alike(name + step, part)]


def value_text(value: Plain) -> str:
    """A plain value as an expression; what repr writes of an infinity or of NaN is a name."""
    return repr(value) if not isinstance(value, float) or math.isfinite(value) else f'float("{value}")'


def is_value(name: str, value: Plain) -> str:
    """An expression that says whether something is this plain value, of its type."""
    if value is None or isinstance(value, bool):
        return f"{name} is {value}"
    text = value_text(value)
    if isinstance(value, float) and math.isnan(value):
        return f"{name} != {name}"
    return f"type({name}) is {type(value).__name__} and {name} == {text}"
