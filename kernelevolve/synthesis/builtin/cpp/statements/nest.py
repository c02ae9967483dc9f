"""Loop nests, and the base class of the writers of statements."""

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
    """The loop `for (symbol = start; symbol < end; ++symbol)`."""

    symbol: sympy.Symbol
    start: str
    end: str

    def head(self) -> str:
        """Return the text before the body."""
        name = self.symbol.name
        return f"for (int64_t {name} = {self.start}; {name} < {self.end}; ++{name})"


class Nest:
    """Nested loops, with lines at the start and the end of each body."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self.loops = list(loops)
        self.inside: list[list[str]] = [[] for _ in range(len(loops) + 1)]
        """inside[k] has the lines at the start of the body of loop k - 1; inside[0] those before all loops."""
        self.after: list[list[str]] = [[] for _ in range(len(loops) + 1)]
        """after[k] has the lines at the end of the body of loop k - 1; after[0] those after all loops."""
        self.pragma: str = ""
        """The line before the innermost loop; empty for none."""

    def render(self, body: list[str]) -> list[str]:
        """Return the lines of the loops around a body."""

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
    """Writes loops and stores of the statements of a group.

    In all methods `tile` is the axis of a statement along the rows of the block, and `fixed` are the symbols of its
    axes that have one value in the block.
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
        """Initialize the writer.

        Args:
            program: The program.
            choices: Answers the choices.
            limits: The limits of the CPU.
            addresses: Writes accesses to buffers.
            used: Receives the names of the prelude functions that the text needs.
            group: The name of the group, a prefix of its choices.
            rows: The rows of a block.
        """
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
        """Return how well a loop over `axis` would vectorise.

        Each access counts by the share of the iterations over `axes` that reach a new element. A write counts twice.
        """
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
        """Return the combination of `a` and one more value `b`."""
        if kind in ("max", "min"):
            name = "ke_larger" if kind == "max" else "ke_smaller"
            self.used.add(name)
            return f"{name}<{ctype}>({b}, {a})"
        return f"{a} {({'sum': '+', 'mean': '+', 'prod': '*', 'any': '|', 'all': '&'})[kind]} {b}"

    def _innermost(self, name: str, axes: list[Axis], roots: Sequence[Expr], target: Load) -> Axis:
        """Return the axis of the vectors: the best by its score, or the second best if the choice says so."""
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
        """Return the chosen width of vectors in bytes."""
        return self.choices.number("vector_bytes", self.limits.vector_bytes, 16, 32, 64)
