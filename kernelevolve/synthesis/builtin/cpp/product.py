"""Contractions as register-tiled matrix products: which axes are rows and columns, how large a tile is."""

from __future__ import annotations

from kernelevolve.synthesis.builtin.transform import axis_stride, extent_hint, row_candidates
from kernelevolve.synthesis.traced.program import Axis, Contract, Program

_BLOCK = 32
"""Rows that a block of the tile's axis has, more or less; beyond 64 more rows make a tile no faster."""
_LONG = 64


def product_roles(s: Contract, out: list[Axis], tile: Axis | None, program: Program) -> tuple[Axis, Axis] | None:
    """(rows, columns) among the axes `out` that the statement loops over, or None where a plain reduction is better.

    The columns are contiguous in the right operand and in the result. Rows along `tile` are those of one block.
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
        return min(_BLOCK if along_tile else _LONG, extent_hint(axis.extent, program.hints))

    # Later axes lie closer together in the result.
    return max(reversed(candidates), key=length), n


HEIGHTS = (1, 2, 4, 6, 8, 12, 14, 16)
WIDTHS = (1, 2, 3, 4)


def tile_size(rows: int, columns: int, lanes: int, registers: int) -> tuple[int, int]:
    """(rows, vectors of columns) of the tile that covers a product of this size in the fewest cycles per step.

    The model is of a core that starts two multiply-adds each cycle, with four cycles from one to the next that needs its
    result; that broadcasts two elements of the left operand each cycle from the first cache, and loads one vector of
    the right operand from the second.
    """

    def cycles(height: int, width: int) -> float:
        return max(height * width / 2, height / 2 + width, 4.0) + 0.5

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

    fitting = [(h, w) for h in HEIGHTS for w in WIDTHS if h * w + w + 1 <= registers]
    return min(fitting, key=lambda size: (cost(size), size[0] / 2 + size[1], size))


def less(height: int) -> int:
    """Height of the next smaller tile for the rows that remain."""
    return next((h for h in (8, 4, 2) if h < height), 1)
