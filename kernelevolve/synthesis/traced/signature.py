"""Code that converts between the nested arguments and results of `forward` and the tensors of a kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kernelevolve.tasks.structure import Plain, Structure


class Origin(Enum):
    """The source of a leaf of a result."""

    GRAPH = "graph"
    """A result of the exported graph, by its number."""
    INPUT = "input"
    """An input itself, by its number."""
    VALUE = "value"
    """A constant plain value."""


@dataclass(frozen=True)
class Leaf:
    """A leaf of the result of `forward`."""

    origin: Origin
    number: int = 0
    value: Plain = None


@dataclass(frozen=True)
class Returned:
    """The result of `forward`, built from the results of a graph."""

    structure: Structure
    leaves: tuple[Leaf, ...]
    classes: frozenset[str] = frozenset()
    """The names of the named tuples that the file of the task defines."""

    def text(self, results: Sequence[str], inputs: Sequence[str]) -> str:
        """Return a Python expression of the result.

        Args:
            results: Expressions of the results of the graph.
            inputs: Expressions of the leaves of the arguments.
        """
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
    """The arguments of `forward`. A kernel calls their leaves x0, x1, and so on."""

    structure: Structure
    """The structure of the list of arguments."""

    @property
    def leaves(self) -> list[str]:
        """The names of the leaves."""
        return [f"x{i}" for i in range(self.structure.leaves)]

    @property
    def parameters(self) -> list[str]:
        """The parameter names of `forward`, without self. A nested argument is called `nested_<position>`."""
        return [name for name, _, _ in self._places()]

    def unpacking(self) -> list[str]:
        """Return statements that bind the leaves of nested parameters to their names."""
        return [
            f"x{first + i} = {name}{path}"
            for name, part, first in self._places()
            if part.kind != "leaf"
            for i, path in enumerate(part.paths())
        ]

    def conditions(self) -> list[str]:
        """Return expressions that are all true if the parameters are nested as they were at the export."""
        return [c for name, part, _ in self._places() if part.kind != "leaf" for c in _alike(name, part)]

    def _places(self) -> list[tuple[str, Structure, int]]:
        """Return the name, the structure and the number of the first leaf of each parameter."""
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
    """Return a plain value as a Python expression. Infinities and NaN need a call, since their repr is a name."""
    return repr(value) if not isinstance(value, float) or math.isfinite(value) else f'float("{value}")'


def is_value(name: str, value: Plain) -> str:
    """Return an expression that is true if the named value equals a plain value and has its type."""
    if value is None or isinstance(value, bool):
        return f"{name} is {value}"
    text = value_text(value)
    if isinstance(value, float) and math.isnan(value):
        return f"{name} != {name}"
    return f"type({name}) is {type(value).__name__} and {name} == {text}"
