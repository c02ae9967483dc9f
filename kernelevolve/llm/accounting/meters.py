"""Counters over the requests to a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from pydantic import Field

from kernelevolve.core.record import Record
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Tokens


class Tally(Record):
    """The counts of one model since the actor started."""

    answers: int = Field(default=0, ge=0)
    """The number of answered requests."""
    failures: Mapping[str, int] = {}
    """Kind of error -> the number of failed attempts."""
    given_up: int = Field(default=0, ge=0)
    """The number of requests without an answer."""
    tokens: Tokens = Tokens()
    cost: float = Field(default=0.0, ge=0)
    seconds: float = Field(default=0.0, ge=0)
    """The sum of the seconds of all answers."""
    in_flight: int = Field(default=0, ge=0)
    """The number of requests in flight."""


class Gauges(Protocol):
    """A sink for the numbers besides the tally."""

    def answered(self, exchange: Exchange) -> None: ...

    def failed(self, model: str, kind: str) -> None: ...

    def in_flight(self, model: str, count: int) -> None: ...


class Meter:
    """Counts the requests to one model, and reports them to gauges if there are any."""

    def __init__(self, model: str, gauges: Gauges | None = None) -> None:
        self._model = model
        self._gauges = gauges
        self._answers = 0
        self._given_up = 0
        self._failures: Counter[str] = Counter()
        self._tokens = Tokens()
        self._cost = 0.0
        self._seconds = 0.0
        self._in_flight = 0

    def begun(self) -> None:
        """Count the start of a request."""
        self._moved(1)

    def ended(self, exchange: Exchange | None) -> None:
        """Count the end of a request; `exchange` is None if it got no answer."""
        self._moved(-1)
        if exchange is None:
            self._given_up += 1
            return
        self._answers += 1
        self._tokens = self._tokens + exchange.completion.tokens
        self._cost += exchange.cost
        self._seconds += exchange.seconds
        if self._gauges:
            self._gauges.answered(exchange)

    def failed(self, error: BaseException) -> None:
        """Count a failed attempt."""
        self._failures[type(error).__name__] += 1
        if self._gauges:
            self._gauges.failed(self._model, type(error).__name__)

    def _moved(self, by: int) -> None:
        self._in_flight += by
        if self._gauges:
            self._gauges.in_flight(self._model, self._in_flight)

    def tally(self) -> Tally:
        """Return the counts."""
        return Tally(
            answers=self._answers,
            failures=dict(self._failures),
            given_up=self._given_up,
            tokens=self._tokens,
            cost=self._cost,
            seconds=self._seconds,
            in_flight=self._in_flight,
        )
