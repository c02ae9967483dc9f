"""Conversion of literals to a dtype, and the sizes of dtypes."""

from __future__ import annotations

import math
import struct


def rounded(value: float, dtype: str) -> float:
    """Round a number to the nearest value of a floating-point dtype, ties to even."""
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
    """Return the bits of a float32 number rounded to bfloat16."""
    if math.isnan(value):
        return 0x7FC0
    bits: int = struct.unpack("I", struct.pack("f", value))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def limits(dtype: str) -> tuple[int, int]:
    """Return the least and the greatest integer of a dtype; 0 and 1 for bool."""
    if dtype == "bool":
        return 0, 1
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    return (0, (1 << bits) - 1) if dtype.startswith("u") else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def wrapped(value: int, dtype: str) -> int:
    """Wrap an integer around to an integer dtype."""
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
"""The bytes of an element of each dtype."""
