"""Elementwise statements as C++: maps, transposed copies, searches, scatters."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import sympy

from kernelevolve.synthesis.builtin.cpp.scalar import CTYPE, index_text, loaded, search_method, stored
from kernelevolve.synthesis.builtin.cpp.statements.nest import Nest, NestWriter
from kernelevolve.synthesis.builtin.plan.transform import transposed_axes
from kernelevolve.synthesis.traced.builder import compute_dtype
from kernelevolve.synthesis.traced.expr import Const, Expr, IndexValue, Load, Op, Search, key, rewrite, walk
from kernelevolve.synthesis.traced.program import Axis, Compute, Scatter


class PointwiseWriter(NestWriter):
    """Writes elementwise statements and scatters as C++."""

    def _compute(self, s: Compute, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        axes = [a for a in s.axes if a.symbol not in fixed]
        offset = s.offset or (sympy.Integer(0),) * len(s.axes)
        index = tuple(a.symbol + o for a, o in zip(s.axes, offset, strict=True))
        target = Load(s.buffer, index, self.program.buffers[s.buffer].dtype)
        turned = self._transposed(s, target, axes, tile)
        if turned is not None:
            return turned
        if axes:
            inner = self._innermost(s.buffer, axes, [s.value], target)
            axes = [a for a in axes if a is not inner] + [inner]
        nest = Nest([self._loop(a, tile) for a in axes])
        scalars = self._scalars([a.symbol for a in axes], lambda k, line: nest.inside[k + 1].append(line))
        searches = [n for n in walk(s.value) if isinstance(n, Search)]
        keys: dict[int, Hashable] = {}
        if axes and len({key(n, keys) for n in searches}) == 1 and self._batchable(searches[0], axes[-1]):
            return self._batched(s, searches, axes, tile, index)
        value = scalars.text(s.value, len(axes) - 1)
        if axes and not searches:
            nest.pragma = "#pragma omp simd"
        return nest.render([self._store(s.buffer, index, value)])

    def _transposed(self, s: Compute, target: Load, axes: list[Axis], tile: Axis | None) -> list[str] | None:
        """Write a copy that transposes two axes, in square tiles. Returns None for other statements."""
        pair = transposed_axes(s, self.program)
        if pair is None or not all(a in axes for a in pair) or not isinstance(s.value, Load):
            return None
        p, q = pair
        source = s.value
        ends = [self.addresses.offset(x.buffer, x.index) for x in (source, target)]
        if ends[0] is None or ends[1] is None or not self.choices.flag(f"transpose.{s.buffer}", True):
            return None
        reads, writes = ({a.symbol: end.coeff(a.symbol, 1) for a in axes} for end in ends if end is not None)
        self.used.add("ke_transpose")
        self.vector_bytes()
        first = {a.symbol: self._start(a, tile) for a in (p, q)}
        begin = [index_text(end.xreplace(first)) for end in ends if end is not None]
        counts = [index_text(a.extent) if first[a.symbol] == 0 else "hi - lo" for a in (p, q)]
        nest = Nest([self._loop(a, tile) for a in axes if a is not p and a is not q])
        return nest.render(
            [
                f"ke_transpose(&{source.buffer}[{begin[0]}], {index_text(reads[p.symbol])}, "
                f"&{s.buffer}[{begin[1]}], {index_text(writes[q.symbol])}, {', '.join(counts)});"
            ]
        )

    def _batchable(self, search: Search, inner: Axis) -> bool:
        symbols = {x for t in search.row if isinstance(t, sympy.Basic) for x in t.free_symbols}
        if inner.symbol in symbols or any(not isinstance(t, sympy.Basic) for t in search.row):
            return False
        return search_method(self.choices, search) == "batched"

    def _batched(
        self, s: Compute, same: list[Search], axes: list[Axis], tile: Axis | None, index: tuple[sympy.Expr, ...]
    ) -> list[str]:
        """Write searches of one row that advance together step by step, so that their cache misses overlap.

        `same` are the searches of the statement, which are all equal.
        """
        search = same[0]
        width = self.choices.number(f"{self.group}.batch", 64, 16, 32, 128, 256)
        self.used.add("ke_batch")
        inner = axes[-1]
        bounds = self._loop(inner, tile)
        nest = Nest([self._loop(a, tile) for a in axes[:-1]])
        symbols = [a.symbol for a in axes]
        ctype = CTYPE[self.program.buffers[search.buffer].dtype]
        wanted: list[str] = []
        found: list[str] = []

        def into(lines: list[str]) -> Callable[[int, str], None]:
            return lambda k, line: (lines if k >= len(axes) - 1 else nest.inside[k + 1]).append(line)

        first = self._scalars(symbols, into(wanted))
        wanted.append(f"wanted[l] = {first.text(search.value, len(axes) - 1)};")
        base = self.addresses.row(search, lambda e: first.text(e, len(axes) - 2))
        place = sympy.Symbol("at", integer=True)

        def swap(node: Expr) -> Expr | None:
            return IndexValue(place) if isinstance(node, Search) else None

        value = self._scalars([*symbols, place], into(found)).text(rewrite(s.value, swap), len(axes))
        name = inner.symbol.name
        body = [
            f"for (int64_t jb = {bounds.start}; jb < {bounds.end}; jb += {width}) {{",
            f"  const int64_t jn = {bounds.end} - jb < {width} ? {bounds.end} - jb : {width};",
            f"  {ctype} wanted[{width}];",
            f"  int64_t place[{width}];",
            "  for (int64_t l = 0; l < jn; ++l) {",
            f"    const int64_t {name} = jb + l;",
            *("    " + x for x in wanted),
            "  }",
            f"  ke_batch<{'true' if search.right else 'false'}>({base}, {index_text(search.length)}, wanted, place, jn);",
            "  #pragma omp simd",
            "  for (int64_t l = 0; l < jn; ++l) {",
            f"    const int64_t {name} = jb + l, at = place[l];",
            *("    " + x for x in found),
            f"    {self._store(s.buffer, index, value)}",
            "  }",
            "}",
        ]
        return nest.render(body)

    def _scatter(self, s: Scatter) -> list[str]:
        dtype = self.program.buffers[s.buffer].dtype
        first = Compute(s.buffer, s.initial_axes, s.initial)
        lines = self._compute(first, None, set())
        nest = Nest([self._loop(a, None) for a in s.axes])
        scalars = self._scalars([a.symbol for a in s.axes], lambda k, line: nest.inside[k + 1].append(line))
        level = len(s.axes) - 1
        terms = tuple(Op("add", (e, Const(0, "int64")), "int64") for e in s.index)
        place = self.addresses.element(Load(s.buffer, terms, dtype), lambda e: scalars.text(e, level))
        value = scalars.text(s.value, level)
        if s.kind != "set":
            held = CTYPE[compute_dtype(dtype)]
            how = {"sum": "any", "prod": "all", "max": "any", "min": "all"}[s.kind] if dtype == "bool" else s.kind
            value = self.combine(how, held, loaded(place, dtype, self.used), value)
        held = f"{place} = {stored(value, dtype, self.used)};"
        return lines + nest.render([held])
