"""The conditions on sizes under which an exported program is valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy.printers import PythonPrinter

from kernelevolve.synthesis.traced.builder import SizeError

_BOUNDLESS = 1 << 40
"""A number of elements that no dimension reaches."""
_Names = Mapping[sympy.Symbol, sympy.Symbol]
"""The symbol of a size in the program, by its symbol in the export."""


def ranges(exported: ExportedProgram, names: _Names) -> dict[str, tuple[int, int | None]]:
    """Return the least and greatest values of sizes, by name in the program; None for no greatest value."""
    found: dict[str, tuple[int, int | None]] = {}
    drops = _drops(exported)
    for symbol, limits in exported.range_constraints.items():
        if symbol in names:
            low, high = int(limits.lower), limits.upper
            low = low if low > 2 or drops else 0
            most = int(high) if isinstance(high, int | sympy.Integer) and high < _BOUNDLESS else None
            if low > 0 or most is not None:
                found[names[symbol].name] = (low, most)
    return found


def conditions(exported: ExportedProgram, names: _Names) -> tuple[str, ...]:
    """Return the conditions that the export decided with the main sizes, as Python expressions of names in the program.

    They stem from branches in the model and in PyTorch, such as whether a last pooling window counts.

    Raises:
        SizeError: A condition is on a size that is not a dimension of an input.
    """
    values = [n.meta.get("val") for n in exported.graph_module.graph.nodes if n.op == "placeholder"]
    environment = next((v.fake_mode.shape_env for v in values if isinstance(v, torch.Tensor)), None)
    if environment is None:
        return ()
    found: list[str] = []
    drops = _drops(exported)
    for guard in environment.guards:
        expression = environment.simplify(guard.expr)
        if expression.free_symbols - names.keys():
            raise SizeError("a condition on a size that the inputs' shapes do not give")
        named = expression.xreplace(names)
        if named is not sympy.true and (drops or not _says_two_or_more(named)):
            found.append(condition_text(named))
    return tuple(dict.fromkeys(found))


def condition_text(condition: sympy.Basic) -> str:
    """Return a condition on sizes as a Python expression, for the file of a kernel, which does not always import math."""
    return str(PythonPrinter().doprint(condition)).replace("math.", '__import__("math").')


def _drops(exported: ExportedProgram) -> bool:
    """Return whether the graph drops dimensions of extent 1. Only then do assumptions that sizes exceed 1 matter."""
    return any("squeeze" in str(n.target) and "un" not in str(n.target) for n in exported.graph.nodes)


def _says_two_or_more(condition: Any) -> bool:
    """Return whether a condition only excludes 0 and 1 as the value of a size."""
    if isinstance(condition, sympy.Ne):
        return condition.rhs in (0, 1)
    if isinstance(condition, sympy.Ge | sympy.Le):
        return bool(condition.lts == 2)
    return isinstance(condition, sympy.Gt | sympy.Lt) and bool(condition.lts == 1)
