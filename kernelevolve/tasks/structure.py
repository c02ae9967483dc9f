"""Flattening the arguments and results of `forward` into leaves and a structure."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, Literal, cast

import torch

from kernelevolve.core.record import Record

Plain = bool | int | float | str | None
"""A leaf that is not a tensor."""
PLAIN = (bool, int, float, str, NoneType)
"""The types of leaves that are not tensors."""
_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
"""The types that stand for numbers while a model is exported."""


class StructureError(TypeError):
    """A value that cannot be among inputs or results."""

    def __init__(self, path: str, fault: str) -> None:
        """Create the error.

        Args:
            path: The indices that lead to the value.
            fault: The fault, as a verb phrase: `is a set: ...`.
        """
        super().__init__(f"{path} {fault}")
        self.path = path
        self.fault = fault


class Structure(Record):
    """The nesting of leaves."""

    kind: Literal["leaf", "list", "tuple", "dict", "namedtuple"]
    name: str = ""
    """The class name of a named tuple."""
    keys: tuple[str | int, ...] = ()
    """The keys of a dict in its order, or the fields of a named tuple."""
    parts: tuple[Structure, ...] = ()

    @property
    def leaves(self) -> int:
        """The number of leaves."""
        return 1 if self.kind == "leaf" else sum(part.leaves for part in self.parts)

    @property
    def flat(self) -> bool:
        """Whether all parts are leaves."""
        return all(part.kind == "leaf" for part in self.parts)

    def with_plain_tuples(self) -> Structure:
        """Return this structure with tuples in place of named tuples, which are tuples too."""
        parts = tuple(part.with_plain_tuples() for part in self.parts)
        return (
            Structure(kind="tuple", parts=parts)
            if self.kind == "namedtuple"
            else self.model_copy(update={"parts": parts})
        )

    def steps(self) -> Iterator[tuple[str, Structure]]:
        """Yield the parts, each with the index that leads to it, as Python writes it: `[0]`, `['mask']`."""
        for i, part in enumerate(self.parts):
            yield f"[{self.keys[i]!r}]" if self.kind == "dict" else f"[{i}]", part

    def paths(self) -> list[str]:
        """Return the indices that lead to each leaf: `[1]['mask']`."""
        if self.kind == "leaf":
            return [""]
        return [step + rest for step, part in self.steps() for rest in part.paths()]


LEAF = Structure(kind="leaf")


def flatten(value: Any, *, by_key: bool = False) -> tuple[list[Any], Structure]:
    """Flatten a value.

    Subclasses of list, tuple and dict count as these types, and so do PyTorch's own named results.

    Args:
        value: The value.
        by_key: Sort the entries of dicts by their keys, instead of keeping their order.

    Returns:
        The leaves (tensors and plain values), and the structure.

    Raises:
        StructureError: The value contains anything else.
    """
    leaves: list[Any] = []
    return leaves, _gathered(value, leaves, "", by_key)


def key_order(key: str | int) -> tuple[str, str | int]:
    """Return the sort key of a dict's key."""
    return type(key).__name__, key


def rebuild(structure: Structure, leaves: Sequence[Any], classes: Mapping[str, Any] | None = None) -> Any:
    """Invert `flatten`.

    Args:
        structure: The structure.
        leaves: The leaves.
        classes: Name -> class, where named tuples are looked up. A class that is not there is created.
    """
    left = iter(leaves)
    return _built(structure, left, classes or {})


def rebuild_arguments(
    structure: Structure, leaves: Sequence[Any], classes: Mapping[str, Any] | None = None
) -> list[Any]:
    """Return the arguments of a call from the structure of their list and their leaves."""
    if structure.flat:
        return list(leaves)
    return cast("list[Any]", rebuild(structure, leaves, classes))


def described(structure: Structure, leaves: Sequence[Any]) -> str:
    """Describe a result in one line: `dict('a': tensor, 'b': int)`."""
    return _text(structure, iter(leaves))


def shortened(text: str) -> str:
    """Truncate a line of `described` for messages."""
    return text if len(text) <= 200 else f"{text[:197]}..."


def _gathered(value: Any, leaves: list[Any], path: str, by_key: bool) -> Structure:
    if isinstance(value, (torch.Tensor, *PLAIN, *_SYMBOLIC)):
        leaves.append(value)
        return LEAF
    if isinstance(value, tuple):
        fields = getattr(type(value), "_fields", None)
        parts = tuple(_gathered(v, leaves, f"{path}[{i}]", by_key) for i, v in enumerate(value))
        if isinstance(fields, tuple) and len(fields) == len(parts) and all(isinstance(f, str) for f in fields):
            return Structure(kind="namedtuple", name=type(value).__name__, keys=fields, parts=parts)
        return Structure(kind="tuple", parts=parts)
    if isinstance(value, list):
        return Structure(
            kind="list", parts=tuple(_gathered(v, leaves, f"{path}[{i}]", by_key) for i, v in enumerate(value))
        )
    if isinstance(value, dict):
        for key in value:
            if type(key) not in (str, int):
                raise StructureError(path, f"is a dict with the key {key!r}: use text or whole numbers as keys")
        keys = sorted(value, key=key_order) if by_key else list(value)
        parts = tuple(_gathered(value[k], leaves, f"{path}[{k!r}]", by_key) for k in keys)
        return Structure(kind="dict", keys=tuple(keys), parts=parts)
    kind = type(value)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    if kind.__module__.startswith("kernelevolve_"):
        name = kind.__qualname__
    raise StructureError(
        path,
        f"is a {name}: only tensors, numbers, text, booleans, None, and lists, tuples and dicts of them can be given and returned",
    )


def _built(structure: Structure, leaves: Iterator[Any], classes: Mapping[str, Any]) -> Any:
    if structure.kind == "leaf":
        return next(leaves)
    parts = [_built(part, leaves, classes) for part in structure.parts]
    match structure.kind:
        case "list":
            return parts
        case "tuple":
            return tuple(parts)
        case "dict":
            return dict(zip(structure.keys, parts, strict=True))
    found = classes.get(structure.name)
    if isinstance(found, type) and issubclass(found, tuple) and getattr(found, "_fields", None) == structure.keys:
        return found(*parts)
    make: Any = namedtuple  # mypy requires literal fields; these are known only at run time.
    return make(structure.name, structure.keys)(*parts)


def _text(structure: Structure, leaves: Iterator[Any]) -> str:
    if structure.kind == "leaf":
        leaf = next(leaves)
        return "tensor" if isinstance(leaf, torch.Tensor) else "None" if leaf is None else type(leaf).__name__
    texts = [_text(part, leaves) for part in structure.parts]
    if structure.kind in ("list", "tuple"):
        if len(texts) > 1 and len(set(texts)) == 1:
            return f"{structure.kind}({len(texts)} x {texts[0]})"
        return f"{structure.kind}({', '.join(texts)})"
    named = [
        f"{k!r}: {t}" if structure.kind == "dict" else f"{k}: {t}" for k, t in zip(structure.keys, texts, strict=True)
    ]
    return f"{structure.name or 'dict'}({', '.join(named)})"
