"""The number of calls in a block, and whether a block waits for an idle machine.

On a quiet machine blocks are long, so that starting and ending one costs next to nothing. On a busy machine a long block is almost always
disturbed. There, blocks are short, with as many calls for all entrants, and begin when no other program runs, if such moments occur.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from evaluators.runtime.base import Noise
from evaluators.settings import TimingSettings

_LONGEST = 30
"""The multiple of `block_seconds` that a block of the slowest entrant may take if it has several calls."""
_SHORT_SECONDS = 8e-4
"""The wanted seconds of a short block of the fastest entrant."""
_SHORTEST_SECONDS = 4e-4
"""The least seconds of a short block of the fastest entrant."""
_LONG_SECONDS = 2e-3
"""The most seconds of a short block of the slowest entrant, about a time slice of the operating system's scheduler."""
_LOOK_BLOCKS = 8
"""The least number of blocks from which it is decided to change to short blocks."""
_DISTURBED_SHARE = 0.3
"""The share of noisy blocks from which on blocks are short."""
_DISTURBED_SHARE_BEFORE = 0.6
"""The share of noisy blocks from which on blocks are short, among untimed blocks before the first round."""
_PATIENCE_SECONDS = 6e-3
"""The most seconds for which a block waits for an idle machine."""
_TRIALS = 8
"""The number of waits after which waiting is given up if it rarely succeeds."""
_PAYS = 0.2
"""The least share of successful waits for which waiting goes on."""


class Pacing:
    """The pacing of one stopwatch."""

    def __init__(self, settings: TimingSettings, slots: int) -> None:
        """`slots` is the largest number of calls in a block."""
        self._settings = settings
        self._slots = slots
        self._seen: list[Noise] = []
        self._before: list[Noise] = []
        self._waits: list[bool] = []
        self._short = False
        self.calls = 1
        """The number of calls in a block."""

    def wanted_calls(self, call_seconds: Collection[float]) -> int:
        """Return the number of calls with which a block of the fastest entrant is long enough and one of the slowest not too long.

        Args:
            call_seconds: The seconds per call of each entrant.
        """
        wanted = self._settings.block_seconds / min(call_seconds)
        most = _LONGEST * self._settings.block_seconds / max(call_seconds)
        return max(1, min(self._slots, round(wanted), int(most)))

    def patience(self) -> float:
        """Return the seconds for which the next block may wait for an idle machine."""
        if not self._short or (len(self._waits) >= _TRIALS and sum(self._waits) < _PAYS * len(self._waits)):
            return 0.0
        return _PATIENCE_SECONDS

    def learn(self, noise: Sequence[Noise], idle: Sequence[bool | None], call_seconds: Collection[float]) -> bool:
        """Learn from the blocks of a round.

        Args:
            noise: The noise of each block.
            idle: Whether each block's wait for an idle machine succeeded, or None if it did not wait.
            call_seconds: The seconds per call of each entrant.

        Returns:
            Whether the number of calls has changed, so that earlier blocks are not comparable with later ones.
        """
        self._waits += [found for found in idle if found is not None]
        self._seen += noise
        return self._shorten(self._seen, _DISTURBED_SHARE, call_seconds)

    def look_ahead(self, noise: Sequence[Noise], call_seconds: Collection[float]) -> None:
        """Learn from untimed blocks before the first round. They are noisier, so only many noisy ones count."""
        self._before += noise
        self._shorten(self._before, _DISTURBED_SHARE_BEFORE, call_seconds)

    def _shorten(self, seen: Sequence[Noise], share: float, call_seconds: Collection[float]) -> bool:
        """Change to short blocks if enough of the last blocks were noisy. Return whether the number of calls has changed."""
        recent = seen[-4 * _LOOK_BLOCKS :]
        noisy = sum(each is Noise.NOISY for each in recent)
        if self._short or len(recent) < _LOOK_BLOCKS or noisy < share * len(recent):
            return False
        self._short = True
        before, self.calls = self.calls, self._short_calls(call_seconds)
        return self.calls != before

    def _short_calls(self, call_seconds: Collection[float]) -> int:
        fastest, slowest = min(call_seconds), max(call_seconds)
        least = math.ceil(_SHORTEST_SECONDS / fastest)
        wanted = max(1, least, min(round(_SHORT_SECONDS / fastest), int(_LONG_SECONDS / slowest)))
        return min(self._slots, wanted)
