"""What the schedule's defaults need to know of the processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CpuLimits:
    """Vector unit and near memory of one core."""

    vector_bytes: int
    registers: int
    """Vector registers that a program may name."""
    near_bytes: int
    """Of the second cache, what the scratch of a thread may fill next to what streams through it."""

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> CpuLimits:
        """From a CPU's facts, as `Target.facts` words them; what they do not tell is taken as common."""
        bits = int(facts.get("vector_bits", "256"))
        arm = facts.get("arch", "").startswith("arm")
        cache = facts.get("l2", "")
        second = int(cache[:-1]) * 1024 if cache.endswith("K") and cache[:-1].isdigit() else 512 * 1024
        return cls(
            vector_bytes=bits // 8,
            registers=32 if bits == 512 or arm else 16,
            near_bytes=max(32 * 1024, second // 8),
        )
