"""The properties of a processor that the defaults of the schedule depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CpuLimits:
    """The vector unit and cache of one core."""

    vector_bytes: int
    """The width of a vector register in bytes."""
    registers: int
    """The number of vector registers."""
    near_bytes: int
    """The bytes of the second-level cache that the scratch memory of a thread may fill."""

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> CpuLimits:
        """Return the limits of a CPU from `Target.facts`, with common values for missing facts."""
        bits = int(facts.get("vector_bits", "256"))
        arm = facts.get("arch", "").startswith("arm")
        cache = facts.get("l2", "")
        second = int(cache[:-1]) * 1024 if cache.endswith("K") and cache[:-1].isdigit() else 512 * 1024
        return cls(
            vector_bytes=bits // 8,
            registers=32 if bits == 512 or arm else 16,
            near_bytes=max(32 * 1024, second // 8),
        )
