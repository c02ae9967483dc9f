"""What an export took for granted of sizes: the program is right for inputs that keep to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy.printers import PythonPrinter

from kernelevolve.synthesis.traced.builder import UnsupportedError

_BOUNDLESS = 1 << 40
"""Elements that no dimension has."""
_Names = Mapping[sympy.Symbol, sympy.Symbol]
"""The export's name of a size -> the program's."""


def ranges(exported: ExportedProgram, names: _Names) -> dict[str, tuple[int, int | None]]:
    """Least and greatest values of single sizes: that a slice lies inside, say. None: no greatest."""
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
    """What was decided by looking at the main sizes, in Python: whether a last window counts, or a branch of the model's own.

    Raises UnsupportedError for a condition on a size that the shapes of inputs do not give.
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
            raise UnsupportedError("a condition on a size that the inputs' shapes do not give")
        named = expression.xreplace(names)
        if named is not sympy.true and (drops or not _says_two_or_more(named)):
            # The kernel's file need not import math.
            found.append(PythonPrinter().doprint(named).replace("math.", '__import__("math").'))
    return tuple(dict.fromkeys(found))


def _drops(exported: ExportedProgram) -> bool:
    """Whether dimensions of one element are dropped. The export calls all sizes 2 or more, which says nothing but there."""
    return any("squeeze" in str(n.target) and "un" not in str(n.target) for n in exported.graph.nodes)


def _says_two_or_more(condition: Any) -> bool:
    """Whether a condition only says of a size that it is neither 0 nor 1."""
    if isinstance(condition, sympy.Ne):
        return condition.rhs in (0, 1)
    if isinstance(condition, sympy.Ge | sympy.Le):
        return bool(condition.lts == 2)
    return isinstance(condition, sympy.Gt | sympy.Lt) and bool(condition.lts == 1)
