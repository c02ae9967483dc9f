"""Client-side limits of requests and tokens per minute."""

from __future__ import annotations

import asyncio
import time

_BURST_SECONDS = 10.0
"""The seconds of a limit that may be used at once after a pause."""


class Bucket:
    """A token bucket (Turner 1986, "New directions in communications") whose level may become negative.

    Each request waits until the tokens taken before it are refilled, so requests are served in order.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self._rate = per_minute / 60.0
        self._capacity = max(1.0, self._rate * _BURST_SECONDS)
        self._level = self._capacity
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take an amount. Return the seconds to wait before using it."""
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        self._level -= amount
        return max(0.0, -self._level / self._rate)

    def give_back(self, amount: float) -> None:
        """Return an amount that was taken but not used. A negative amount was used but not taken."""
        self._level = min(self._capacity, self._level + amount)


class Rates:
    """The rate limits of one model, for use in one event loop."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        now = time.monotonic()
        self._requests = Bucket(requests_per_minute, now) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, now) if tokens_per_minute else None
        self._held_until = 0.0

    async def wait(self, tokens: int) -> None:
        """Wait until a request of so many tokens may be sent. A cancelled call returns what it took."""
        now = time.monotonic()
        pause = max(
            self._requests.take(1, now) if self._requests else 0.0,
            self._tokens.take(tokens, now) if self._tokens else 0.0,
        )
        try:
            until = now + pause
            while (left := max(until, self._held_until) - time.monotonic()) > 0:
                await asyncio.sleep(left)
        except asyncio.CancelledError:
            if self._requests:
                self._requests.give_back(1)
            self.correct(tokens, 0)
            raise

    def correct(self, taken: int, used: int) -> None:
        """Correct the amount after a request used another number of tokens than it took."""
        if self._tokens:
            self._tokens.give_back(taken - used)

    def hold(self, seconds: float) -> None:
        """Let all requests wait, as the endpoint asked for."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)
