"""One statement as a loop nest over a block of rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import sympy

from kernelevolve.synthesis.builtin.cpp.layout import LOW, Addresses
from kernelevolve.synthesis.builtin.cpp.product import HEIGHTS, WIDTHS, product_roles, tile_size
from kernelevolve.synthesis.builtin.cpp.scalar import (
    CTYPE,
    ITEM_BYTES,
    STORED,
    Scalars,
    index_text,
    search_method,
    stored,
)
from kernelevolve.synthesis.builtin.knobs import Choices
from kernelevolve.synthesis.builtin.target import Target
from kernelevolve.synthesis.builtin.transform import axis_stride, extent_hint, transposed_axes
from kernelevolve.synthesis.traced.expr import (
    FLOATS,
    Const,
    Expr,
    IndexValue,
    Load,
    Op,
    Search,
    Size,
    key,
    rewrite,
    substitute,
    walk,
)
from kernelevolve.synthesis.traced.program import (
    Axis,
    Compute,
    Contract,
    Program,
    Reduce,
    Scan,
    Scatter,
    SegmentReduce,
    Statement,
)

_LINE = 64
"""Bytes of a cache line."""


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


class StatementWriter:
    """Writes the statements of one group."""

    def __init__(
        self,
        program: Program,
        choices: Choices,
        target: Target,
        addresses: Addresses,
        used: set[str],
        group: str,
        rows: int = 1,
    ) -> None:
        self.program = program
        self.choices = choices
        self.target = target
        self.addresses = addresses
        self.used = used
        self.group = group
        self.rows = rows
        self._names = 0

    def write(self, s: Statement, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        """`tile` is the statement's axis along the rows of the block, `fixed` its shared axes that a block holds one value of."""
        match s:
            case Compute():
                return self._compute(s, tile, fixed)
            case Reduce(kind=kind) if kind.startswith("arg"):
                return self._extremum(s, tile, fixed)
            case Reduce():
                return self._reduce(s, tile, fixed)
            case Contract():
                return self._contract(s, tile, fixed)
            case Scan():
                return self._scan(s, tile, fixed)
            case SegmentReduce():
                return self._segment(s, tile, fixed)
            case Scatter():
                return self._scatter(s)

    # -- helpers

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

    def _innermost(self, name: str, axes: list[Axis], roots: Sequence[Expr], target: Load) -> Axis:
        """The axis to run as vectors: the best by strides, or the knob's other choice."""
        ranked = sorted(axes, key=lambda a: -self._score(a, axes, roots, target))
        if len(ranked) == 1:
            return ranked[0]
        places = {"best": 0, "second": 1}
        return ranked[places[self.choices.word(f"loop.{name}", "best", "second")]]

    # -- elementwise

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
        """A copy that is contiguous along one axis where it reads, along another where it writes, in square tiles."""
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

    def _start(self, axis: Axis, tile: Axis | None) -> Size:
        return LOW if tile is not None and axis.symbol == tile.symbol else sympy.Integer(0)

    def _batchable(self, search: Search, inner: Axis) -> bool:
        symbols = {x for t in search.row if isinstance(t, sympy.Basic) for x in t.free_symbols}
        if inner.symbol in symbols or any(not isinstance(t, sympy.Basic) for t in search.row):
            return False
        return search_method(self.choices, search) == "batched"

    def _batched(
        self, s: Compute, same: list[Search], axes: list[Axis], tile: Axis | None, index: tuple[sympy.Expr, ...]
    ) -> list[str]:
        """Many searches of one row advance together, step by step, so that their cache misses overlap.

        `same` are the equal searches of the statement.
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

    def _vectorises(self, value: Expr) -> bool:
        return not any(isinstance(n, Search) for n in walk(value))

    # -- reductions

    def _accumulator(self, s: Reduce | SegmentReduce | Scan) -> str:
        dtype = s.value.dtype
        if s.kind in ("any", "all"):
            return "uint8_t"
        if dtype in ("float16", "bfloat16"):
            return "float"
        return CTYPE[dtype]

    def _initial(self, kind: str, ctype: str) -> str:
        if kind in ("sum", "mean"):
            return f"({ctype})0"
        if kind == "prod":
            return f"({ctype})1"
        if kind in ("any", "all"):
            return "false" if kind == "any" else "true"
        limit = f"std::numeric_limits<{ctype}>"
        if ctype in ("float", "double"):
            return f"-{limit}::infinity()" if kind == "max" else f"{limit}::infinity()"
        return f"{limit}::lowest()" if kind == "max" else f"{limit}::max()"

    def _combine(self, kind: str, ctype: str, a: str, b: str) -> str:
        if kind in ("max", "min"):
            self.used.add(f"ke_{kind}")
            return f"ke_{kind}<{ctype}>({b}, {a})"
        return f"{a} {({'sum': '+', 'mean': '+', 'prod': '*', 'any': '|', 'all': '&'})[kind]} {b}"

    def _reduce(self, s: Reduce, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        out = [a for a in s.axes if a.symbol not in fixed]
        index = tuple(a.symbol for a in s.axes)
        target = Load(s.buffer, index, self.program.buffers[s.buffer].dtype)
        inner = self._innermost(s.buffer, [*s.reduced, *out], [s.value], target)
        ctype = self._accumulator(s)
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
        """Independent partial results per lane: the vector runs along the reduced axis.

        `span` replaces the bounds of the outermost reduced loop.
        """
        lanes = self.choices.number(f"{self.group}.lanes", 64, 8, 16, 32, 128)
        init = self._initial(s.kind, ctype)
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

        result = self._scalars(symbols, declare).text(s.value, len(loops))
        value = [
            f"auto value = [&](int64_t {inner.symbol.name}) __attribute__((always_inline)) -> {ctype} {{",
            *("  " + x for x in local),
            f"  return {result};",
            "};",
        ]
        simd = ["#pragma omp simd"] if self._vectorises(s.value) else []

        def step(count: str) -> list[str]:
            combined = self._combine(s.kind, ctype, "acc[l]", "value(j + l)")
            return [*simd, f"for (int64_t l = 0; l < {count}; ++l) acc[l] = {combined};"]

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
            return nest.render(["{", *("  " + x for x in (*value, *main, *rest)), "}"])
        return nest.render([*value, *main, *self._halved(s.kind, ctype, lanes, end, simd), *finish("acc1[0]")])

    def _halved(self, kind: str, ctype: str, lanes: int, end: str, simd: list[str]) -> list[str]:
        """Combine all lanes into one by halves; on the way, what remains of the row joins as many lanes as it fills.

        Each half is an array of its own, so that it stays in a register.
        """
        lines: list[str] = []
        wide = "acc"
        while lanes > 1:
            lanes //= 2
            name = f"acc{lanes}"
            folded = self._combine(kind, ctype, f"{wide}[l]", f"{wide}[l + {lanes}]")
            joined = self._combine(kind, ctype, f"{name}[l]", "value(j + l)")
            loop = f"for (int64_t l = 0; l < {lanes}; ++l)"
            lines += [
                f"{ctype} {name}[{lanes}];",
                "#pragma omp simd",
                f"{loop} {name}[l] = {folded};",
                f"if (j + {lanes} <= {end}) {{",
                *("  " + x for x in simd),
                f"  {loop} {name}[l] = {joined};",
                f"  j += {lanes};",
                "}",
            ]
            wide = name
        return lines

    def _folded(self, kind: str, ctype: str, lanes: int) -> list[str]:
        """Combine all lanes into the first, by halves."""
        lines = []
        while lanes > 1:
            lanes //= 2
            step = self._combine(kind, ctype, "acc[l]", f"acc[l + {lanes}]")
            lines += ["#pragma omp simd", f"for (int64_t l = 0; l < {lanes}; ++l) acc[l] = {step};"]
        return lines

    def partial(self, s: Reduce) -> list[str]:
        """Body of a function that reduces rows lo .. hi - 1 of a reduction to one value, and returns it."""
        ctype = self._accumulator(s)
        ranked = sorted(s.reduced, key=lambda a: self._score(a, s.reduced, [s.value], None))
        inner = ranked[-1]
        outer = [a for a in s.reduced if a is not inner]
        return self._lanes(s, [], outer, inner, None, ctype, lambda r: [f"return {r};"], ("lo", "hi"))

    def partial_axis(self, s: Reduce) -> Axis:
        """The axis whose range `partial` takes."""
        inner = max(s.reduced, key=lambda a: self._score(a, s.reduced, [s.value], None))
        return next((a for a in s.reduced if a is not inner), inner)

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
        """The vector runs along a result axis: a block of accumulators stays in registers while the reduced loops run.

        What lies at places that were loaded, far from one step of `scattered` to the next, is asked for some steps ahead.
        """
        along_tile = tile is not None and inner.symbol == tile.symbol
        extent = int(inner.extent) if isinstance(inner.extent, sympy.Integer) and not along_tile else None
        whole = [extent] if extent is not None and extent <= 128 else []
        width = self.choices.number(f"{self.group}.block", *whole, 64, 16, 32, 128, 256)
        even = extent is not None and extent % width == 0
        init = self._initial(s.kind, ctype)
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

            text = self._scalars(symbols, declare).text(value, len(symbols) - 1)
            body = [
                "#pragma omp simd",
                f"for (int64_t l = 0; l < {count}; ++l) {{",
                f"  const int64_t {inner.symbol.name} = jb + l;",
                *("  " + x for x in local),
                f"  acc[l] = {self._combine(s.kind, ctype, 'acc[l]', text)};",
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
            # Known to run at least once, the loop keeps its accumulators in registers to the end.
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
        """Prefetches of the rows that later steps of the loop over `along` gather."""
        buffers = self.program.buffers
        rows: dict[Hashable, Load] = {}
        keys: dict[int, Hashable] = {}
        for node in walk(value):
            if isinstance(node, Load) and axis_stride(node, inner, buffers) == 1 and self._gathers(node, along):
                rows[key(node, keys)] = node
        if not rows:
            return []
        distance = self.choices.number(f"{self.group}.prefetch", 32, 0, 8, 16, 24, 40, 48, 64)
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
        """Whether the load's place comes from elements that lie along an axis, in buffers that reach as far as it does."""
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

    def _extremum(self, s: Reduce, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        """argmin and argmax: the first of equals; a NaN wins over every number."""
        out = [a for a in s.axes if a.symbol not in fixed]
        index = tuple(a.symbol for a in s.axes)
        ctype = CTYPE[s.value.dtype]
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
        ctype = self._accumulator(s)
        index = tuple(a.symbol for a in s.axes)
        axes = [*others, s.along]
        nest = Nest([self._loop(a, tile) for a in axes])
        scalars = self._scalars([a.symbol for a in axes], lambda k, line: nest.inside[k + 1].append(line))
        value = scalars.text(s.value, len(axes) - 1)
        nest.inside[len(others)].append(f"{ctype} acc = {self._initial(s.kind, ctype)};")
        return nest.render(
            [f"acc = {self._combine(s.kind, ctype, 'acc', value)};", self._store(s.buffer, index, "acc")]
        )

    def _segment(self, s: SegmentReduce, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        segment, *rest = s.axes
        index = tuple(a.symbol for a in s.axes)
        ctype = self._accumulator(s)
        kind = s.kind
        outer = [] if segment.symbol in fixed else [segment]

        def setup(scalars: Scalars, level: int) -> list[str]:
            first, last = scalars.text(s.first, level), scalars.text(s.last, level)
            return [f"const int64_t first = {first}, last = {last};"]

        def final(r: str) -> str:
            return f"{r} / ({ctype})(last - first)" if kind == "mean" else r

        loop = Loop(s.position.symbol, "first", "last")
        if not rest or rest[-1].symbol in fixed:
            raise ValueError("a segment reduction without an inner axis")
        return self._blocked(
            s, s.value, [*outer, *rest[:-1]], rest[-1], [loop], tile, ctype, index, final, setup, s.position
        )

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
        held = f"{place} = {stored(f'{place} + {value}' if s.accumulate else value, dtype, self.used)};"
        return lines + nest.render([held])

    # -- products

    def vector_bytes(self) -> int:
        return self.choices.number("vector_bytes", self.target.vector_bytes, 16, 32, 64)

    def _contract(self, s: Contract, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        dtype = self.program.buffers[s.buffer].dtype
        product = Op("mul", (_as(s.left, dtype), _as(s.right, dtype)), dtype)
        plain = Reduce(s.buffer, s.axes, s.reduced, "sum", product, s.hint)
        out = [a for a in s.axes if a.symbol not in fixed]
        roles = product_roles(s, out, tile, self.program)
        if roles is None or not self.choices.flag(f"tiled.{s.buffer}", True):
            return self._reduce(plain, tile, fixed)
        m, n = roles
        along_tile = tile is not None and m.symbol == tile.symbol
        others = [a for a in out if a is not m and a is not n]
        k = sorted(s.reduced, key=lambda a: extent_hint(a.extent, self.program.hints))
        if len(k) > 3:
            return self._reduce(plain, tile, fixed)
        index = tuple(a.symbol for a in s.axes)
        target = Load(s.buffer, index, dtype)
        zero = {a.symbol: sympy.Integer(0) for a in (n, *k)}
        zero[m.symbol] = self._start(m, tile)
        offsets = []
        strides = []
        for load in (s.left, s.right, target):
            offset = self.addresses.offset(load.buffer, load.index)
            if offset is None:
                return self._reduce(plain, tile, fixed)
            offsets.append(index_text(offset.xreplace(zero)))
            strides.append({a.symbol: offset.coeff(a.symbol, 1) for a in (*s.axes, *s.reduced)})
        self.used.add("ke_gemm")
        nest = Nest([self._loop(a, tile) for a in others])
        rows = "hi - lo" if along_tile else index_text(m.extent)
        am, cm = index_text(strides[0][m.symbol]), index_text(strides[2][m.symbol])
        ks = [index_text(a.extent) for a in k]
        aks = [index_text(strides[0][a.symbol]) for a in k]
        bks = [index_text(strides[1][a.symbol]) for a in k]
        pack = self.choices.flag(f"pack.{s.buffer}", False)
        hints = self.program.hints
        lanes = max(1, self.vector_bytes() // ITEM_BYTES[dtype])
        height, width = tile_size(
            self.rows if along_tile else extent_hint(m.extent, hints),
            extent_hint(n.extent, hints),
            lanes,
            self.target.registers,
        )
        height = self.choices.number(f"mr.{s.buffer}", height, *HEIGHTS)
        width = self.choices.number(f"nv.{s.buffer}", width, *WIDTHS)
        pad = 3 - len(k)
        ks, aks, bks = ["1"] * pad + ks, ["0"] * pad + aks, ["0"] * pad + bks
        body = [
            "{",
            f"  const int64_t ak[3] = {{{', '.join(aks)}}}, bk[3] = {{{', '.join(bks)}}};",
            f"  ke_gemm<{height}, {width}, {'true' if pack else 'false'}>("
            f"&{s.left.buffer}[{offsets[0]}], {am}, &{s.right.buffer}[{offsets[1]}], &{s.buffer}[{offsets[2]}], {cm}, "
            f"{rows}, {index_text(n.extent)}, {', '.join(ks)}, ak, bk);",
            "}",
        ]
        return nest.render(body)


def _as(load: Load, dtype: str) -> Expr:
    return load if load.dtype == dtype else Op("cast", (load,), dtype)
