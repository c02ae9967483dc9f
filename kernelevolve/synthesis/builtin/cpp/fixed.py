"""Specialization of the code for the sizes of the main inputs, in which short loops unroll and need no remainder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kernelevolve.synthesis.builtin.plan.schedule import FusedGroup
from kernelevolve.synthesis.traced.program import Program, reads


@dataclass(frozen=True)
class Fixed:
    """The sizes that are template parameters. Without any there is one copy of the code."""

    values: tuple[tuple[str, int], ...] = ()
    """The names of the sizes and their values for the main inputs."""

    @property
    def head(self) -> str:
        """The template head of a function that is compiled for the main inputs and for all others."""
        return f"template <{', '.join(f'int64_t {n.upper()}' for n, _ in self.values)}>\n" if self.values else ""

    @property
    def arguments(self) -> str:
        """The template arguments of a call from another such function."""
        return f"<{', '.join(n.upper() for n, _ in self.values)}>" if self.values else ""

    def size(self, name: str) -> str:
        """Return the expression of a size inside such a function."""
        known = name in dict(self.values)
        return f"{name.upper()} > 0 ? {name.upper()} : a.{name}" if known else f"a.{name}"

    def dispatch(self, function: str) -> str:
        """Return the call of the copy that fits the sizes."""
        if not self.values:
            return f"  {function}(a);\n"
        test = " && ".join(f"a.{n} == {v}" for n, v in self.values)
        main, other = ", ".join(str(v) for _, v in self.values), ", ".join("-1" for _ in self.values)
        return f"  if ({test}) {function}<{main}>(a);\n  else {function}<{other}>(a);\n"


def inner_sizes(program: Program, groups: Iterable[FusedGroup]) -> Fixed:
    """Return the sizes that strides and inner loops depend on: those of all dimensions but the first."""
    found: set[str] = set()
    for g in groups:
        for s in g.statements:
            for name in (*reads(s), s.buffer):
                for extent in program.buffers[name].extents[1:]:
                    found.update(symbol.name for symbol in extent.free_symbols)
    return Fixed(tuple((n, program.hints[n]) for n in program.sizes if n in found and program.hints[n] > 0))
