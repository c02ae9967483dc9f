"""PyTorch's promotion of dtypes."""

from __future__ import annotations

from typing import Any

import sympy

from kernelevolve.synthesis.traced.expr import FLOATS, INTEGERS
from kernelevolve.synthesis.traced.virtual import Virtual

_KIND = {"bool": 0, **dict.fromkeys(INTEGERS, 1), **dict.fromkeys(FLOATS, 2)}
_WIDTH = {"bool": 0, "uint8": 1, "int8": 1, "int16": 2, "int32": 3, "int64": 4}
_WIDTH |= {"float16": 1, "bfloat16": 1, "float32": 2, "float64": 3}


def promote(*dtypes: str) -> str:
    """Return the dtype to which PyTorch promotes the given ones."""
    best, *rest = dtypes
    for dtype in rest:
        pair = {best, dtype}
        if len(pair) > 1 and pair <= {"uint8", "int8"}:
            best = "int16"
        elif pair == {"float16", "bfloat16"}:
            best = "float32"
        else:
            best = max(best, dtype, key=lambda d: (_KIND[d], _WIDTH[d]))
    return best


def result_type(*operands: Any) -> str:
    """Return the dtype to which PyTorch promotes tensors and numbers.

    Tensors with dimensions take precedence over those without, and those over numbers. An operand of lower precedence
    counts only if its kind (bool, integer, floating-point) is higher.
    """
    ranks: tuple[list[str], list[str], list[str]] = ([], [], [])
    for x in operands:
        if isinstance(x, Virtual):
            ranks[0 if x.dims else 1].append(x.dtype)
        elif isinstance(x, bool):
            ranks[2].append("bool")
        elif isinstance(x, float) or (not isinstance(x, int | sympy.Basic) and x.dtype in FLOATS):
            ranks[2].append("float32")
        else:
            ranks[2].append("int64")
    best = ""
    for dtypes in ranks:
        if dtypes:
            here = promote(*dtypes)
            best = here if not best or _KIND[here] > _KIND[best] else best
    return best
