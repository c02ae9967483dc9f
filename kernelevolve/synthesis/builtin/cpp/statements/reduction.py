"""Reductions, segment reductions and scans as C++."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import sympy

from kernelevolve.synthesis.builtin.cpp.scalar import CTYPE, Scalars, index_text
from kernelevolve.synthesis.builtin.cpp.statements.accumulate import BlockWriter
from kernelevolve.synthesis.builtin.cpp.statements.nest import Loop, Nest
from kernelevolve.synthesis.builtin.plan.transform import extent_hint
from kernelevolve.synthesis.traced.builder import compute_dtype
from kernelevolve.synthesis.traced.expr import FLOATS, Load
from kernelevolve.synthesis.traced.program import Axis, Reduce, Scan, SegmentReduce

_LANES = 64
"""The partial results of a row by default."""


class ReductionWriter(BlockWriter):
    """Writes reductions and scans as C++."""

    def _reduce(self, s: Reduce, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        out = [a for a in s.axes if a.symbol not in fixed]
        index = tuple(a.symbol for a in s.axes)
        target = Load(s.buffer, index, self.program.buffers[s.buffer].dtype)
        inner = self._innermost(s.buffer, [*s.reduced, *out], [s.value], target)
        terms = prod(extent_hint(a.extent, self.program.hints) for a in s.reduced)
        ctype = self.accumulator(s, terms // _LANES if inner in s.reduced else terms)
        if inner in s.reduced:
            outer = [a for a in s.reduced if a is not inner]
            return self._lanes(s, out, outer, inner, tile, ctype, lambda r: [self._store(s.buffer, index, r)])
        rest = [a for a in out if a is not inner]
        loops = [self._loop(a, None) for a in s.reduced]
        return self._blocked(s, s.value, rest, inner, loops, tile, ctype, index)

    def _lanes(
        self,
        s: Reduce,
        out: list[Axis],
        outer: list[Axis],
        inner: Axis,
        tile: Axis | None,
        ctype: str,
        finish: Callable[[str], list[str]],
        span: tuple[str, str] | None = None,
    ) -> list[str]:
        """Reduce with vectors along a reduced axis, with a partial result per lane.

        Args:
            s: The reduction.
            out: The axes of the result.
            outer: The other reduced axes.
            inner: The reduced axis of the vectors.
            tile: The axis along the rows of the block; None for none.
            ctype: The type of the partial results.
            finish: Returns the lines that store a result.
            span: The bounds of the outermost reduced loop, in place of the whole extent; None for that.
        """
        lanes = self.choices.number(f"{self.group}.lanes", _LANES, 8, 16, 32, 128)
        init = self.initial(s.kind, ctype)
        reduced_loops = [self._loop(a, None) for a in outer]
        start, end = "0", index_text(inner.extent)
        if span is not None and outer:
            reduced_loops[0] = Loop(outer[0].symbol, *span)
        elif span is not None:
            start, end = span
        loops = [self._loop(a, tile) for a in out] + reduced_loops
        nest = Nest(loops)
        symbols = [*(a.symbol for a in (*out, *outer)), inner.symbol]
        local: list[str] = []

        def declare(level: int, line: str) -> None:
            (local if level == len(loops) else nest.inside[level + 1]).append(line)

        scalars = self._scalars(symbols, declare)
        result = self.step(s.kind, ctype, "so_far", s.value, scalars, len(loops))
        with_next = [
            f"auto with = [&]({ctype} so_far, int64_t {inner.symbol.name}) __attribute__((always_inline)) -> {ctype} {{",
            *("  " + x for x in local),
            f"  return {result};",
            "};",
        ]
        simd = ["#pragma omp simd"] if self._vectorises(s.value) else []

        def step(count: str) -> list[str]:
            return [*simd, f"for (int64_t l = 0; l < {count}; ++l) acc[l] = with(acc[l], j + l);"]

        main = [
            f"int64_t j = {start};",
            f"for (; j + {lanes} <= {end}; j += {lanes}) {{",
            *("  " + x for x in step(str(lanes))),
            "}",
        ]
        nest.inside[len(out)] += [
            f"{ctype} acc[{lanes}];",
            f"for (int64_t l = 0; l < {lanes}; ++l) acc[l] = {init};",
        ]
        if outer:
            nest.after[len(out)] = [
                *self._folded(s.kind, ctype, lanes),
                *finish("acc[0]"),
                *nest.after[len(out)],
            ]
            rest = [f"const int64_t rest = {end} - j;", *step("rest")]
            return nest.render(["{", *("  " + x for x in (*with_next, *main, *rest)), "}"])
        return nest.render([*with_next, *main, *self._halved(s.kind, ctype, lanes, end, simd), *finish("acc1[0]")])

    def _halved(self, kind: str, ctype: str, lanes: int, end: str, simd: list[str]) -> list[str]:
        """Combine all lanes into one by halves, adding the rest of the row to as many lanes as it fills on the way.

        Each half is a separate array, so that it stays in a register.
        """
        lines: list[str] = []
        wide = "acc"
        while lanes > 1:
            lanes //= 2
            name = f"acc{lanes}"
            folded = self.combine(kind, ctype, f"{wide}[l]", f"{wide}[l + {lanes}]")
            loop = f"for (int64_t l = 0; l < {lanes}; ++l)"
            lines += [
                f"{ctype} {name}[{lanes}];",
                "#pragma omp simd",
                f"{loop} {name}[l] = {folded};",
                f"if (j + {lanes} <= {end}) {{",
                *("  " + x for x in simd),
                f"  {loop} {name}[l] = with({name}[l], j + l);",
                f"  j += {lanes};",
                "}",
            ]
            wide = name
        return lines

    def _folded(self, kind: str, ctype: str, lanes: int) -> list[str]:
        """Combine all lanes into the first one by halves."""
        lines = []
        while lanes > 1:
            lanes //= 2
            step = self.combine(kind, ctype, "acc[l]", f"acc[l + {lanes}]")
            lines += ["#pragma omp simd", f"for (int64_t l = 0; l < {lanes}; ++l) acc[l] = {step};"]
        return lines

    def partial_type(self, s: Reduce, rows: int) -> str:
        """Return the C++ type of the result of `partial` for a range of so many rows."""
        axis = self.partial_axis(s)
        hints = self.program.hints
        others = prod(extent_hint(a.extent, hints) for a in s.reduced if a is not axis)
        return self.accumulator(s, min(rows, extent_hint(axis.extent, hints)) * others // _LANES)

    def partial(self, s: Reduce, ctype: str) -> list[str]:
        """Return the body of a function that reduces the range lo to hi - 1 of `partial_axis` to one value of type `ctype`."""
        ranked = sorted(s.reduced, key=lambda a: self._score(a, s.reduced, [s.value], None))
        inner = ranked[-1]
        outer = [a for a in s.reduced if a is not inner]
        return self._lanes(s, [], outer, inner, None, ctype, lambda r: [f"return {r};"], ("lo", "hi"))

    def partial_axis(self, s: Reduce) -> Axis:
        """Return the axis whose range `partial` reduces."""
        inner = max(s.reduced, key=lambda a: self._score(a, s.reduced, [s.value], None))
        return next((a for a in s.reduced if a is not inner), inner)

    def _extremum(self, s: Reduce, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        """Write argmin or argmax: the first of equal elements, and NaN before all numbers."""
        out = [a for a in s.axes if a.symbol not in fixed]
        index = tuple(a.symbol for a in s.axes)
        ctype = CTYPE[compute_dtype(s.value.dtype)]
        loops = [self._loop(a, tile) for a in out] + [self._loop(a, None) for a in s.reduced]
        nest = Nest(loops)
        symbols = [loop.symbol for loop in loops]
        value = self._scalars(symbols, lambda k, line: nest.inside[k + 1].append(line)).text(s.value, len(symbols) - 1)
        sign = ">" if s.kind == "argmax" else "<"
        nan = " || (v != v && best == best)" if s.value.dtype in FLOATS else ""
        nest.inside[len(out)] += [f"{ctype} best = 0;", "int64_t at = -1, n = 0;"]
        nest.after[len(out)].append(self._store(s.buffer, index, "at"))
        return nest.render(
            [
                f"const {ctype} v = {value};",
                f"if (at < 0 || v {sign} best{nan}) {{ best = v; at = n; }}",
                "++n;",
            ]
        )

    def _scan(self, s: Scan, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        others = [a for a in s.axes if a.symbol not in fixed and a is not s.along]
        ctype = self.accumulator(s)
        index = tuple(a.symbol for a in s.axes)
        axes = [*others, s.along]
        nest = Nest([self._loop(a, tile) for a in axes])
        scalars = self._scalars([a.symbol for a in axes], lambda k, line: nest.inside[k + 1].append(line))
        value = scalars.text(s.value, len(axes) - 1)
        nest.inside[len(others)].append(f"{ctype} acc = {self.initial(s.kind, ctype)};")
        return nest.render([f"acc = {self.combine(s.kind, ctype, 'acc', value)};", self._store(s.buffer, index, "acc")])

    def _segment(self, s: SegmentReduce, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        segment, *rest = s.axes
        index = tuple(a.symbol for a in s.axes)
        ctype = self.accumulator(s)
        kind = s.kind
        outer = [] if segment.symbol in fixed else [segment]

        def setup(scalars: Scalars, level: int) -> list[str]:
            first, last = scalars.text(s.first, level), scalars.text(s.last, level)
            return [f"const int64_t first = {first}, last = {last};"]

        def final(r: str) -> str:
            return f"{r} / ({ctype})(last - first)" if kind == "mean" else r

        loop = Loop(s.position.symbol, "first", "last")
        if not rest:
            return self._single(s, [self._loop(a, tile) for a in outer], loop, ctype, index, final, setup)
        if rest[-1].symbol in fixed:
            raise ValueError("a segment reduction whose inner axis is fixed")
        return self._blocked(
            s, s.value, [*outer, *rest[:-1]], rest[-1], [loop], tile, ctype, index, final, setup, s.position
        )

    def _single(
        self,
        s: SegmentReduce,
        outer: list[Loop],
        loop: Loop,
        ctype: str,
        index: tuple[sympy.Expr, ...],
        final: Callable[[str], str],
        setup: Callable[[Scalars, int], list[str]],
    ) -> list[str]:
        """Write a segment reduction to one value per segment."""
        nest = Nest([*outer, loop])
        scalars = self._scalars([x.symbol for x in nest.loops], lambda k, line: nest.inside[k + 1].append(line))
        bounds = setup(scalars, len(outer) - 1)
        result = self.step(s.kind, ctype, "acc", s.value, scalars, len(outer))
        nest.inside[len(outer)] += [*bounds, f"{ctype} acc = {self.initial(s.kind, ctype)};"]
        store = self._store(s.buffer, index, f"first < last ? {final('acc')} : ({ctype})0")
        nest.after[len(outer)].append(store)
        return nest.render([f"acc = {result};"])
