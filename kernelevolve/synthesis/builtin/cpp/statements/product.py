"""Contractions as register-tiled matrix products: the choice of rows, columns and tile size."""

from __future__ import annotations

import sympy

from kernelevolve.synthesis.builtin.cpp.scalar import index_text
from kernelevolve.synthesis.builtin.cpp.statements.nest import Nest
from kernelevolve.synthesis.builtin.cpp.statements.reduction import ReductionWriter
from kernelevolve.synthesis.builtin.plan.transform import affine, axis_stride, extent_hint, row_candidates
from kernelevolve.synthesis.traced.expr import Expr, Load, Op
from kernelevolve.synthesis.traced.numbers import ITEM_BYTES
from kernelevolve.synthesis.traced.program import Axis, Contract, Program, Reduce

BLOCK = 48
"""The rows of a block along the axis of the tile: a multiple of the tile heights 6, 8 and 12."""
_LONG = 64
"""The number of rows from which further ones do not make a product faster."""


def product_roles(s: Contract, out: list[Axis], tile: Axis | None, program: Program) -> tuple[Axis, Axis] | None:
    """Choose the axes of the rows and the columns of a matrix product.

    The columns are contiguous in the right operand and in the result. Rows along `tile` are those of one block.

    Args:
        s: The contraction.
        out: The axes of the result that the statement loops over.
        tile: The axis along the rows of the block; None for none.
        program: The program.

    Returns:
        The rows and the columns, or None if a plain reduction is better.
    """
    buffers = program.buffers
    dtypes = {buffers[b].dtype for b in (s.left.buffer, s.right.buffer, s.buffer)}
    if len(dtypes) != 1 or not dtypes <= {"float32", "float64"} or not out or s.axes[-1] is not out[-1]:
        return None
    n = out[-1]
    if axis_stride(s.right, n, buffers) != 1 or axis_stride(s.left, n, buffers) != 0:
        return None
    if tile is not None and n.symbol == tile.symbol:
        return None
    if extent_hint(n.extent, program.hints) < 4:
        return None
    candidates = [a for a in row_candidates(s, buffers) if a in out]
    if not candidates:
        return None

    def length(axis: Axis) -> int:
        along_tile = tile is not None and axis.symbol == tile.symbol
        return min(BLOCK if along_tile else _LONG, extent_hint(axis.extent, program.hints))

    # Among equals the last axis wins, whose elements lie closest together in the result.
    return max(reversed(candidates), key=length), n


HEIGHTS = (1, 2, 4, 6, 8, 12, 14, 16)
"""The heights of tiles in rows."""
WIDTHS = (1, 2, 3, 4)
"""The widths of tiles in vectors."""


def tile_size(rows: int, columns: int, lanes: int, registers: int) -> tuple[int, int]:
    """Return the rows and the vectors of columns of the tile that takes the fewest cycles per step for a product.

    The model core starts two multiply-adds per cycle with a latency of four cycles, broadcasts two elements of the left
    operand per cycle from the first-level cache, and loads two vectors of the right operand in three cycles from the
    second-level cache. One register stays free, since compilers otherwise spill accumulators.

    Args:
        rows: The rows of the product.
        columns: The columns of the product.
        lanes: The elements of a vector.
        registers: The number of vector registers.
    """

    def cycles(height: int, width: int) -> float:
        return max(height * width / 2, height / 2 + 1.5 * width, 4.0) + 1.0

    def cost(size: tuple[int, int]) -> float:
        height, width = size
        full, rest = divmod(columns, width * lanes)
        strips = [(width, full), (1, -(-rest // lanes))]
        total = 0.0
        left, step = rows, height
        while left > 0:
            count, left = divmod(left, step)
            total += count * sum(number * cycles(step, wide) for wide, number in strips)
            step = less(step)
        return total

    fitting = [(h, w) for h in HEIGHTS for w in WIDTHS if h * w + w + 1 < registers]
    return min(fitting, key=lambda size: (cost(size), size[0] / 2 + size[1], size))


def less(height: int) -> int:
    """Return the height of the next smaller tile, for the remaining rows."""
    return next((h for h in (8, 4, 2) if h < height), 1)


class ProductWriter(ReductionWriter):
    """Writes contractions as C++."""

    def _contract(self, s: Contract, tile: Axis | None, fixed: set[sympy.Symbol]) -> list[str]:
        dtype = self.program.buffers[s.buffer].dtype
        product = Op("mul", (_as(s.left, dtype), _as(s.right, dtype)), dtype)
        plain = Reduce(s.buffer, s.axes, s.reduced, "sum", product, s.hint)
        out = [a for a in s.axes if a.symbol not in fixed]
        roles = product_roles(s, out, tile, self.program)
        if not affine(s.left) or not affine(s.right):
            return self._reduce(plain, tile, fixed)
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
            self.limits.registers,
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
