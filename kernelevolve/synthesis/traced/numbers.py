"""Literals as a dtype holds them."""

from __future__ import annotations

import math
import struct


def rounded(value: float, dtype: str) -> float:
    """The number of a floating dtype that is nearest to `value`, the even one of two."""
    if dtype == "float64" or not math.isfinite(value):
        return value
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
        if dtype == "float16":
            return float(struct.unpack("e", struct.pack("e", single))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
    if dtype == "bfloat16":
        return float(struct.unpack("f", struct.pack("I", bfloat16_bits(single) << 16))[0])
    return single


def bfloat16_bits(value: float) -> int:
    """How bfloat16 stores a number of single precision."""
    if math.isnan(value):
        return 0x7FC0
    bits: int = struct.unpack("I", struct.pack("f", value))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def limits(dtype: str) -> tuple[int, int]:
    """The least and the greatest integer of dtype; of truth values 0 and 1."""
    if dtype == "bool":
        return 0, 1
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    return (0, (1 << bits) - 1) if dtype.startswith("u") else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def wrapped(value: int, dtype: str) -> int:
    """The integer of dtype that is congruent to `value`."""
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    low = value & ((1 << bits) - 1)
    return low - (1 << bits) if not dtype.startswith("u") and low >> (bits - 1) else low


ITEM_BYTES = {
    "float64": 8,
    "int64": 8,
    "float32": 4,
    "int32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""Bytes of an element, by dtype."""
