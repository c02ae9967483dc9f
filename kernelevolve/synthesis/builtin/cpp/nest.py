"""Loop nests, and what every writer of statements needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy

from kernelevolve.synthesis.builtin.cpp.layout import LOW, Addresses
from kernelevolve.synthesis.builtin.cpp.limits import CpuLimits
from kernelevolve.synthesis.builtin.cpp.scalar import Scalars, index_text, stored
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.plan.transform import axis_stride, extent_hint
from kernelevolve.synthesis.traced.expr import Expr, Load, Search, Size, walk
from kernelevolve.synthesis.traced.program import Axis, Program


@dataclass(frozen=True)
class Loop:
    """for (symbol = start; symbol < end; ++symbol)"""

    symbol: sympy.Symbol
    start: str
    end: str

    def head(self) -> str:
        name = self.symbol.name
        return f"for (int64_t {name} = {self.start}; {name} < {self.end}; ++{name})"


class Nest:
    """Loops with places before each of them."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self.loops = list(loops)
        self.inside: list[list[str]] = [[] for _ in range(len(loops) + 1)]
        """inside[k]: at the top of the body of k loops."""
        self.after: list[list[str]] = [[] for _ in range(len(loops) + 1)]
        """after[k]: at the end of the body of k loops."""
        self.pragma: str = ""

    def render(self, body: list[str]) -> list[str]:
        def level(k: int) -> list[str]:
            lines = list(self.inside[k])
            if k == len(self.loops):
                lines += body
            else:
                if self.pragma and k == len(self.loops) - 1:
                    lines.append(self.pragma)
                lines.append(self.loops[k].head() + " {")
                lines += ["  " + x for x in level(k + 1)]
                lines.append("}")
            return lines + self.after[k]

        return level(0)


class NestWriter:
    """Loops and stores of one group's statements.

    Throughout, `tile` is a statement's axis along the rows of the block, `fixed` its shared axes that a block holds one value of.
    """

    def __init__(
        self,
        program: Program,
        choices: Choices,
        limits: CpuLimits,
        addresses: Addresses,
        used: set[str],
        group: str,
        rows: int = 1,
    ) -> None:
        self.program = program
        self.choices = choices
        self.limits = limits
        self.addresses = addresses
        self.used = used
        self.group = group
        self.rows = rows
        self._names = 0

    def _name(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def _loop(self, axis: Axis, tile: Axis | None) -> Loop:
        if tile is not None and axis.symbol == tile.symbol:
            return Loop(axis.symbol, "lo", "hi")
        return Loop(axis.symbol, "0", index_text(axis.extent))

    def _scalars(self, levels: Sequence[sympy.Symbol], declare: Callable[[int, str], None]) -> Scalars:
        a = self.addresses
        return Scalars(self.choices, self.used, levels, a.element, a.row, declare, self._name)

    def _score(self, axis: Axis, axes: Sequence[Axis], roots: Sequence[Expr], target: Load | None) -> float:
        """How well a loop over this one of `axes` would run as vectors: each access counts by the share of the iterations
        that reach a new element of it, a write double."""
        score = 0.0
        hints = self.program.hints
        if extent_hint(axis.extent, hints) < 8:
            score -= 6
        found = [n for root in roots for n in walk(root) if isinstance(n, Load)] + ([target] if target else [])
        for load in found:
            weight = 2.0 if load is target else 1.0
            for other in axes:
                if axis_stride(load, other, self.program.buffers) == 0:
                    weight /= max(1, extent_hint(other.extent, hints))
            stride = axis_stride(load, axis, self.program.buffers)
            if stride is None:
                score -= 2 * weight
            elif stride == 1:
                score += 2 * weight
            elif stride != 0:
                score -= 2 * weight
        return score

    def _store(self, buffer: str, index: tuple[sympy.Expr, ...], value: str) -> str:
        load = Load(buffer, index, self.program.buffers[buffer].dtype)
        return f"{self.addresses.element(load, lambda _: '')} = {stored(value, load.dtype, self.used)};"

    def combine(self, kind: str, ctype: str, a: str, b: str) -> str:
        """`a` and one more value."""
        if kind in ("max", "min"):
            name = "ke_larger" if kind == "max" else "ke_smaller"
            self.used.add(name)
            return f"{name}<{ctype}>({b}, {a})"
        return f"{a} {({'sum': '+', 'mean': '+', 'prod': '*', 'any': '|', 'all': '&'})[kind]} {b}"

    def _innermost(self, name: str, axes: list[Axis], roots: Sequence[Expr], target: Load) -> Axis:
        """The axis to run as vectors: the best by strides, or the knob's other choice."""
        ranked = sorted(axes, key=lambda a: -self._score(a, axes, roots, target))
        if len(ranked) == 1:
            return ranked[0]
        places = {"best": 0, "second": 1}
        return ranked[places[self.choices.word(f"loop.{name}", "best", "second")]]

    def _start(self, axis: Axis, tile: Axis | None) -> Size:
        return LOW if tile is not None and axis.symbol == tile.symbol else sympy.Integer(0)

    def _vectorises(self, value: Expr) -> bool:
        return not any(isinstance(n, Search) for n in walk(value))

    def vector_bytes(self) -> int:
        return self.choices.number("vector_bytes", self.limits.vector_bytes, 16, 32, 64)
