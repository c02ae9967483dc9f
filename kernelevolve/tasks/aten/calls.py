"""A sample of the database as a call: its tensors, and everything else as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

_CONSTANTS = (torch.dtype, torch.memory_format, torch.layout)


class UnsupportedError(Exception):
    """A sample that cannot become a task; the message says why."""


@dataclass(frozen=True)
class Slot:
    """The place of a tensor in a call."""

    index: int

    @property
    def name(self) -> str:
        """The name of the argument of `forward`."""
        return f"x{self.index}"


@dataclass(frozen=True)
class Call:
    """A call without its tensors."""

    args: tuple[Any, ...]
    """The positional arguments, with a `Slot` for each tensor."""
    kwargs: tuple[tuple[str, Any], ...]
    slots: int
    """The number of tensors."""

    def text(self, function: str) -> str:
        """Return the call as Python. Raises UnsupportedError if an argument cannot be written."""
        words = [literal(value) for value in self.args]
        words += [f"{name}={literal(value)}" for name, value in self.kwargs]
        return f"{function}({', '.join(words)})"

    def filled(self, tensors: Sequence[torch.Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with these tensors."""

        def fill(value: Any) -> Any:
            return tensors[value.index] if isinstance(value, Slot) else value

        return [mapped(value, fill) for value in self.args], {name: mapped(v, fill) for name, v in self.kwargs}

    def swapped(self) -> Call:
        """Return the call with its first two positional arguments the other way round."""
        return replace(self, args=(*self.args[1::-1], *self.args[2:])) if len(self.args) > 1 else self

    def with_size(self, before: int, after: int) -> Call:
        """Return the call with the whole numbers of this value in it replaced: they may be sizes."""

        def change(value: Any) -> Any:
            return after if type(value) is int and value == before else value

        args = tuple(mapped(value, change) for value in self.args)
        return replace(self, args=args, kwargs=tuple((name, mapped(value, change)) for name, value in self.kwargs))


def call_of(sample: Any) -> tuple[Call, list[torch.Tensor]]:
    """Take a `SampleInput` apart.

    Returns:
        The call and its tensors.

    Raises:
        UnsupportedError: There is no tensor, or one that is sparse or the like.
    """
    tensors: list[torch.Tensor] = []

    def take(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if value.layout != torch.strided or value.is_nested or value.is_quantized:
            raise UnsupportedError("its tensors are sparse, nested or quantised")
        tensors.append(value.detach())
        return Slot(len(tensors) - 1)

    args = tuple(mapped(value, take) for value in (sample.input, *sample.args))
    kwargs = tuple((name, mapped(value, take)) for name, value in sample.kwargs.items())
    if not tensors:
        raise UnsupportedError("it takes no tensor")
    return Call(args, kwargs, len(tensors)), tensors


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Apply a function to the leaves of lists, tuples and dicts."""
    if isinstance(value, list):
        return [mapped(part, change) for part in value]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        parts = (mapped(part, change) for part in value)
        return torch.Size(parts) if isinstance(value, torch.Size) else tuple(parts)
    if isinstance(value, dict):
        return {key: mapped(part, change) for key, part in value.items()}
    return change(value)


def literal(value: Any) -> str:
    """Return a value as Python. Raises UnsupportedError if it has no plain text."""
    if isinstance(value, Slot):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or type(value) in (bool, int, float, complex, str) or value is Ellipsis:
        return repr(value)
    if isinstance(value, _CONSTANTS):
        return str(value)
    if isinstance(value, slice):
        return f"slice({literal(value.start)}, {literal(value.stop)}, {literal(value.step)})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return f"{{{', '.join(f'{key!r}: {literal(part)}' for key, part in value.items())}}}"
    raise UnsupportedError(
        f"an argument of its samples is a {type(value).__name__}, which cannot be written into a file"
    )
