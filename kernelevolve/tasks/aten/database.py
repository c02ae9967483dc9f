"""PyTorch's OpInfo database: its entries, and the names by which their operators are called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from kernelevolve.tasks.tensor_kinds import DTYPES

DEFAULTS = ("float32", "int64", "bool", "complex64")
"""The dtypes of a task that names none: the first one that the operator supports."""
_NAMESPACES = ("torch", "torch.Tensor", "torch.ops.aten", "torch.nn.functional", "torch.special", "operator")
"""Where an operator is looked up by its name."""


class UnknownError(Exception):
    """There is no such operator in the database."""


@dataclass(frozen=True)
class Entry:
    """An entry of the database, and how its operator may be called."""

    info: Any
    """The `OpInfo`."""
    callables: tuple[str, ...]
    """Expressions of functions that may be the operator. A sample says which one is."""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The names of the dtypes that the operator supports on a CPU and that can travel."""
        supported = self.info.supported_dtypes("cpu")
        return tuple(name for name, dtype in DTYPES.items() if dtype in supported)


@cache
def entries() -> dict[str, Any]:
    """Return the entries of the database by their full names, such as `std_mean.unbiased`."""
    from torch.testing._internal.common_methods_invocations import op_db

    found: dict[str, Any] = {}
    for info in op_db:
        found.setdefault(f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name, info)
    return found


def entries_of(name: str) -> tuple[Entry, ...]:
    """Return the entries of a name of the database, or those whose operator has the overload of ATen that the name means.

    Raises:
        UnknownError: There is none.
    """
    known = entries()
    if name in known:
        return (Entry(known[name], tuple(_callables(known[name].name))),)
    base, _, overload = name.rpartition(".")
    if _overload(name) is None:
        raise UnknownError(f"there is no operator {name} in PyTorch's OpInfo database, and no such overload of ATen")
    infos = [info for info in known.values() if base in (info.name, info.aten_name, info.name.rpartition(".")[2])]
    if not infos:
        raise UnknownError(f"the OpInfo database has no samples of ATen's {base}")
    return tuple(Entry(info, (f"torch.ops.aten.{base}.{overload}",)) for info in infos)


def is_known(name: str) -> bool:
    """Return whether a name is one of the database, or that of an overload of ATen."""
    return name in entries() or _overload(name) is not None


def writes(name: str) -> bool:
    """Return whether a name is that of an overload of ATen that writes into its arguments."""
    overload = _overload(name)
    return overload is not None and bool(overload._schema.is_mutable)


def _overload(name: str) -> Any:
    """Return the overload of ATen that a name means, or None."""
    base, _, overload = name.rpartition(".")
    packet = getattr(torch.ops.aten, base, None) if base.isidentifier() else None
    return getattr(packet, overload) if packet is not None and overload in packet.overloads() else None


def resolved(expression: str) -> Any:
    """Return the object of a dotted expression that begins with `torch` or `operator`; None if there is none."""
    import operator

    first, *rest = expression.split(".")
    found: Any = {"torch": torch, "operator": operator}[first]
    for part in rest:
        found = getattr(found, part, None)
        if found is None:
            return None
    return found


def _callables(name: str) -> Iterator[str]:
    for namespace in _NAMESPACES:
        expression = f"{namespace}.{name}"
        if callable(resolved(expression)):
            yield expression
