"""Timed blocks, and the choice of rounds that no other program disturbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluators.runtime.base import Noise

_MOSTLY = 0.7
"""The least share of undisturbed rounds with which the disturbed ones are left out."""
_LEAST = 0.05
"""The least share of a block's time that its own work is assumed to take."""


@dataclass(frozen=True)
class BlockTime:
    """The time of one block of calls."""

    process: int
    """The number of the process, among those of the implementation, that ran the block."""
    seconds: float
    """The seconds per call."""
    noise: Noise = Noise.QUIET
    """The influence of other programs on the block."""
    lost: float = 0.0
    """The seconds per call for which the block waited for a core; a lower bound."""
    start_error: float = 0.0
    """The standard deviation of the seconds per call that starting the block took and that were not taken off."""

    @property
    def alone(self) -> float:
        """An estimate of the seconds per call without other programs."""
        return max(self.seconds - self.lost, _LEAST * self.seconds)

    @property
    def disturbed(self) -> bool:
        """Whether another program took part of the block."""
        return self.noise is Noise.NOISY


Times = Mapping[str, Sequence[BlockTime]]
"""The blocks of each entrant by name, one block per round."""


def undisturbed_rounds(
    reference: Sequence[BlockTime], kernel: Sequence[BlockTime]
) -> list[tuple[BlockTime, BlockTime]] | None:
    """Return the rounds in which neither block was disturbed, or None if too few rounds are left."""
    rounds = list(zip(reference, kernel, strict=True))
    left = [(a, b) for a, b in rounds if not (a.disturbed or b.disturbed)]
    return left if left and len(left) >= _MOSTLY * len(rounds) else None
