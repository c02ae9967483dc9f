"""Timed blocks, and which rounds of them nobody disturbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluators.runtime.base import Noise

_MOSTLY = 0.7
"""Share of the rounds that nobody disturbed, from which on the others are simply left out."""
_LEAST = 0.05
"""Of a block, that its own work is at least."""


@dataclass(frozen=True)
class BlockTime:
    """One timed block."""

    process: int
    """Which of the processes that hold this implementation ran it."""
    seconds: float
    """Per call."""
    noise: Noise = Noise.QUIET
    """How much others had to do with it."""
    lost: float = 0.0
    """Of its seconds, those at least in which it waited for a core."""

    @property
    def alone(self) -> float:
        """About what it would have taken had nobody disturbed it."""
        return max(self.seconds - self.lost, _LEAST * self.seconds)

    @property
    def disturbed(self) -> bool:
        """Whether another process had a part of it."""
        return self.noise is Noise.NOISY


Times = Mapping[str, Sequence[BlockTime]]
"""By name, one for each round."""


def left_alone(reference: Sequence[BlockTime], kernel: Sequence[BlockTime]) -> list[tuple[BlockTime, BlockTime]] | None:
    """The rounds in which nobody disturbed either; None where too many were disturbed for rounds to tell anything."""
    rounds = list(zip(reference, kernel, strict=True))
    left = [(a, b) for a, b in rounds if not (a.disturbed or b.disturbed)]
    return left if left and len(left) >= _MOSTLY * len(rounds) else None
