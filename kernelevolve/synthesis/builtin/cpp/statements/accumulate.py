"""Accumulators of reductions: their type, initial value and update, and blocks of results that are reduced together."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import sympy

from kernelevolve.synthesis.builtin.cpp.scalar import CTYPE, STORED, Scalars, index_text
from kernelevolve.synthesis.builtin.cpp.statements.nest import Loop, Nest, NestWriter
from kernelevolve.synthesis.builtin.plan.transform import axis_stride
from kernelevolve.synthesis.traced.expr import FLOATS, Expr, Load, Op, key, substitute, walk
from kernelevolve.synthesis.traced.numbers import ITEM_BYTES
from kernelevolve.synthesis.traced.program import Axis, Reduce, Scan, SegmentReduce

_LINE = 64
"""The bytes of a cache line."""
_LONG_SUM = 4096
"""The number of terms beyond which a chain of additions in single precision may be off by more than PyTorch's pairwise sums allow."""


class BlockWriter(NestWriter):
    """Writes accumulators and blocked reductions as C++."""

    def accumulator(self, s: Reduce | SegmentReduce | Scan, terms: int = 0) -> str:
        """Return the C++ type of partial results. Sums and products of floats may be held in double.

        Args:
            s: What is reduced.
            terms: The approximate number of values that are added to each partial result one after the other. Long sums have a knob of
                their own, because the rounding errors of values of one sign grow with it.
        """
        dtype = s.value.dtype
        if s.kind in ("any", "all"):
            return "uint8_t"
        if s.kind in ("sum", "mean", "prod") and dtype in ("float16", "bfloat16", "float32"):
            # A scan has a single chain of additions, in which rounding errors accumulate.
            widths = ("double", "float") if isinstance(s, Scan) else ("float", "double")
            if terms > _LONG_SUM:
                return self.choices.word(f"{self.group}.accumulate.long", "double", "float")
            return self.choices.word(f"{self.group}.accumulate", *widths)
        return "float" if dtype in ("float16", "bfloat16") else CTYPE[dtype]

    def initial(self, kind: str, ctype: str) -> str:
        """Return the result of a reduction without elements."""
        if kind in ("sum", "mean"):
            return f"({ctype})0"
        if kind == "prod":
            return f"({ctype})1"
        if kind in ("any", "all"):
            return "false" if kind == "any" else "true"
        if ctype in ("float", "double"):
            infinity = "__builtin_inff()" if ctype == "float" else "__builtin_inf()"
            return f"-{infinity}" if kind == "max" else infinity
        limit = f"std::numeric_limits<{ctype}>"
        return f"{limit}::lowest()" if kind == "max" else f"{limit}::max()"

    def step(self, kind: str, ctype: str, acc: str, value: Expr, scalars: Scalars, level: int) -> str:
        """Return the update of `acc` by a value that is computed inside loop `level`. Adding a product rounds once."""
        if kind in ("sum", "mean") and isinstance(value, Op) and value.name == "mul" and value.dtype in FLOATS:
            self.used.add("ke_fma")
            a, b = (f"({ctype}){scalars.text(x, level)}" for x in value.args)
            return f"ke_fma({a}, {b}, {acc})"
        return self.combine(kind, ctype, acc, scalars.text(value, level))

    def _blocked(
        self,
        s: Reduce | SegmentReduce,
        value: Expr,
        rest: list[Axis],
        inner: Axis,
        reduced: list[Loop],
        tile: Axis | None,
        ctype: str,
        index: tuple[sympy.Expr, ...],
        final: Callable[[str], str] = lambda r: r,
        setup: Callable[[Scalars, int], list[str]] | None = None,
        scattered: Axis | None = None,
    ) -> list[str]:
        """Reduce with vectors along an axis of the result: a block of accumulators stays in registers.

        Args:
            s: The reduction.
            value: The reduced value.
            rest: The other axes of the result.
            inner: The axis of the vectors.
            reduced: The reduced loops.
            tile: The axis along the rows of the block; None for none.
            ctype: The type of the accumulators.
            index: The index of the result.
            final: Converts an accumulator to the result.
            setup: Writes lines before the loops of the block; None for none.
            scattered: The reduced axis along which gathered rows are prefetched; None for none.
        """
        along_tile = tile is not None and inner.symbol == tile.symbol
        extent = int(inner.extent) if isinstance(inner.extent, sympy.Integer) and not along_tile else None
        whole = [extent] if extent is not None and extent <= 128 else []
        width = self.choices.number(f"{self.group}.block", *whole, 64, 16, 32, 128, 256)
        even = extent is not None and extent % width == 0
        init = self.initial(s.kind, ctype)
        bounds = self._loop(inner, tile)
        outer_loops = [self._loop(a, tile) for a in rest]
        nest = Nest(outer_loops)
        outer_symbols = [a.symbol for a in rest]
        lines: list[str] = []
        if setup is not None:
            scalars = self._scalars(outer_symbols, lambda k, line: nest.inside[k + 1].append(line))
            lines += setup(scalars, len(rest) - 1)
        symbols = [*outer_symbols, *(r.symbol for r in reduced), inner.symbol]
        variants = []
        for count in (str(width),) if even else (str(width), "jn"):
            loops = Nest(reduced)
            local: list[str] = []

            def declare(level: int, line: str, loops: Nest = loops, local: list[str] = local) -> None:
                if level < len(rest):
                    nest.inside[level + 1].append(line)
                elif level == len(symbols) - 1:
                    local.append(line)
                else:
                    loops.inside[level - len(rest) + 1].append(line)

            scalars = self._scalars(symbols, declare)
            text = self.step(s.kind, ctype, "acc[l]", value, scalars, len(symbols) - 1)
            body = [
                "#pragma omp simd",
                f"for (int64_t l = 0; l < {count}; ++l) {{",
                f"  const int64_t {inner.symbol.name} = jb + l;",
                *("  " + x for x in local),
                f"  acc[l] = {text};",
                "}",
            ]
            if scattered is not None:
                loops.inside[-1] = [
                    *self._ahead(value, scattered, inner, outer_symbols, count, nest),
                    *loops.inside[-1],
                ]
            variants.append(loops.render(body))
        store = self._store(s.buffer, index, final("acc[l]"))
        count = str(width) if even else "jn"
        if even:
            block = variants[0]
        else:
            block = [
                f"if (jn == {width}) {{",
                *("  " + x for x in variants[0]),
                "} else {",
                *("  " + x for x in variants[1]),
                "}",
            ]
        block += self._each(inner, count, store)
        if scattered is not None:
            # With at least one iteration the compiler keeps the accumulators in registers to the end.
            empty = self._each(inner, count, self._store(s.buffer, index, f"({ctype})0"))
            block = ["if (first < last) {", *("  " + x for x in block), "} else {", *("  " + x for x in empty), "}"]
        lines += [
            *(
                ["{", "  const int64_t jb = 0;"]
                if extent == width
                else [f"for (int64_t jb = {bounds.start}; jb < {bounds.end}; jb += {width}) {{"]
            ),
            *([] if even else [f"  const int64_t jn = {bounds.end} - jb < {width} ? {bounds.end} - jb : {width};"]),
            f"  {ctype} acc[{width}];",
            f"  for (int64_t l = 0; l < {width}; ++l) acc[l] = {init};",
            *("  " + x for x in block),
            "}",
        ]
        return nest.render(lines)

    def _each(self, inner: Axis, count: str, store: str) -> list[str]:
        return [f"for (int64_t l = 0; l < {count}; ++l) {{ const int64_t {inner.symbol.name} = jb + l; {store} }}"]

    def _ahead(
        self, value: Expr, along: Axis, inner: Axis, outer: list[sympy.Symbol], count: str, nest: Nest
    ) -> list[str]:
        """Return prefetches of the rows that later steps of the loop over `along` gather."""
        buffers = self.program.buffers
        rows: dict[Hashable, Load] = {}
        keys: dict[int, Hashable] = {}
        for node in walk(value):
            if isinstance(node, Load) and axis_stride(node, inner, buffers) == 1 and self._gathers(node, along):
                rows[key(node, keys)] = node
        if not rows:
            return []
        distance = self.choices.number(f"{self.group}.prefetch", 24, 0, 8, 16, 32, 40, 48, 64)
        if distance == 0:
            return []
        ahead, start = sympy.Symbol("ahead", integer=True), sympy.Symbol("jb", integer=True)
        at, bound = along.symbol.name, index_text(along.extent)
        lines = [f"const int64_t ahead = {at} + {distance} < {bound} ? {at} + {distance} : {bound} - 1;"]

        def declare(level: int, line: str) -> None:
            (nest.inside[level + 1] if level < len(outer) else lines).append(line)

        scalars = self._scalars([*outer, ahead, start], declare)
        for load in rows.values():
            far = substitute(load, {along.symbol: ahead, inner.symbol: start})
            if isinstance(far, Load):
                place = self.addresses.element(far, lambda e: scalars.text(e, len(outer)))
                step = max(1, _LINE // ITEM_BYTES[load.dtype])
                lines += [
                    f"const {STORED[load.dtype]}* row{len(lines)} = &{place};",
                    f"for (int64_t c = 0; c < {count}; c += {step}) __builtin_prefetch(row{len(lines)} + c);",
                ]
        return lines

    def _gathers(self, load: Load, along: Axis) -> bool:
        """Return whether the index of a load is read at the positions of an axis, from buffers as long as the axis."""
        found = False
        for term in load.index:
            if isinstance(term, sympy.Basic):
                continue
            for node in walk(term):
                if isinstance(node, Op) and node.name in ("guard", "where"):
                    return False
                if not isinstance(node, Load):
                    continue
                extents = self.program.buffers[node.buffer].extents
                for place, extent in zip(node.index, extents, strict=True):
                    if not isinstance(place, sympy.Basic):
                        return False
                    if along.symbol in place.free_symbols:
                        if place != along.symbol or sympy.expand(extent - along.extent) != 0:
                            return False
                        found = True
        return found
