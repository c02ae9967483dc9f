"""The conditions on sizes under which a program that `torch.export` made is valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy
import torch
from torch.export import ExportedProgram


@dataclass(frozen=True)
class Assumed:
    """The assumptions about the sizes of one model's inputs. Where all of them hold, the model takes the same path through its code."""

    ranges: Mapping[str, tuple[sympy.Expr, sympy.Expr]]
    """The smallest and the largest value of each symbol."""
    conditions: tuple[sympy.Basic, ...]
    """The conditions on symbols, such as `Eq(Mod(s0, 4), 0)`."""

    def holds(self, values: Mapping[str, int]) -> bool:
        """Return whether all assumptions hold for values of the symbols; False where a condition is on anything else."""
        for symbol, n in values.items():
            low, high = self.ranges[symbol]
            if not low <= n <= high:
                return False
        return all(_holds(condition, values) for condition in self.conditions)


def assumed_of(exported: ExportedProgram) -> Assumed | None:
    """Return the assumptions of an exported program; None where it does not hold them."""
    valued = [node.meta.get("val") for node in exported.graph.nodes if node.op == "placeholder"]
    modes = [value.fake_mode for value in valued if isinstance(value, torch._subclasses.FakeTensor)]
    environment = modes[0].shape_env if modes else None
    if environment is None:
        return None
    late = [late.expr for each in environment.deferred_runtime_asserts.values() for late in each]
    found = [
        condition.xreplace(environment.replacements) for condition in (*(g.expr for g in environment.guards), *late)
    ]
    ranges = {str(symbol): (values.lower, values.upper) for symbol, values in exported.range_constraints.items()}
    return Assumed(ranges, tuple(dict.fromkeys(c for c in found if c != sympy.true)))


def _holds(condition: sympy.Basic, values: Mapping[str, int]) -> bool:
    known = {s: sympy.Integer(values[str(s)]) for s in condition.free_symbols if str(s) in values}
    return bool(condition.xreplace(known) == sympy.true)
