"""How many calls a block has, and whether it waits for an idle machine before it begins.

On a machine that is left alone blocks are long, so that starting and ending one costs next to nothing. A long block is hardly ever left
alone on another one: there they are short, of as many calls on all sides, and begin when nobody else runs, where such moments come.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from evaluators.runtime.base import Noise
from evaluators.settings import TimingSettings

_LONGEST = 30
"""Times `block_seconds`, that a block of the slowest may take where that leaves it several calls."""
_SHORT_SECONDS = 8e-4
"""Of a block of the fastest, where others disturb,"""
_SHORTEST_SECONDS = 2e-4
"""less where one of the slowest would take more than"""
_LONG_SECONDS = 2e-3
"""so long, about what a scheduler lets others run at a time."""
_LOOK_BLOCKS = 8
"""Of which so many must be disturbed"""
_DISTURBED_SHARE = 0.3
"""to go over to short ones."""
_PATIENCE_SECONDS = 6e-3
"""To wait for an idle machine before a block,"""
_TRIALS = 8
"""given up after so many such waits"""
_PAYS = 0.2
"""unless this share of them was not in vain."""


class Pacing:
    """Of one stopwatch."""

    def __init__(self, settings: TimingSettings, slots: int) -> None:
        """`slots`: most calls of a block."""
        self._settings = settings
        self._slots = slots
        self._seen: list[Noise] = []
        self._waits: list[bool] = []
        self._short = False
        self.calls = 1
        """Of a block."""

    def wanted_calls(self, call_seconds: Collection[float]) -> int:
        """That make a block of the fastest long enough, and one of the slowest not too long. `call_seconds`: of all sides."""
        wanted = self._settings.block_seconds / min(call_seconds)
        most = _LONGEST * self._settings.block_seconds / max(call_seconds)
        return max(1, min(self._slots, round(wanted), int(most)))

    def patience(self) -> float:
        """Seconds that the next block waits for an idle machine."""
        if not self._short or (len(self._waits) >= _TRIALS and sum(self._waits) < _PAYS * len(self._waits)):
            return 0.0
        return _PATIENCE_SECONDS

    def saw(self, noise: Sequence[Noise], idle: Sequence[bool | None], call_seconds: Collection[float]) -> bool:
        """Learn from the blocks of a round. Whether blocks have another length from now on: those before are not like those to come.

        `idle`: what became of waiting for an idle machine, None where nobody waited.
        """
        self._waits += [found for found in idle if found is not None]
        if self._short:
            return False
        self._seen += noise
        recent = self._seen[-4 * _LOOK_BLOCKS :]
        if len(recent) < _LOOK_BLOCKS or sum(g is Noise.NOISY for g in recent) < _DISTURBED_SHARE * len(recent):
            return False
        self._short = True
        before, self.calls = self.calls, self._short_calls(call_seconds)
        return self.calls != before

    def _short_calls(self, call_seconds: Collection[float]) -> int:
        fastest, slowest = min(call_seconds), max(call_seconds)
        least = math.ceil(_SHORTEST_SECONDS / fastest)
        wanted = max(1, least, min(round(_SHORT_SECONDS / fastest), int(_LONG_SECONDS / slowest)))
        return min(self._slots, wanted)
