"""The counts of models as metrics of Ray, which Prometheus can scrape from each node."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge, Histogram

from kernelevolve.llm.exchange import Exchange

_SECOND = 1.0
_SECONDS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]


class RayGauges:
    """The metrics of one Ray process."""

    def __init__(self) -> None:
        by_model = ("model",)
        self._answers = Counter("kernelevolve_model_answers", "Answers of a model", by_model)
        self._tokens = Counter("kernelevolve_model_tokens", "Tokens read, cached, written", ("model", "kind"))
        self._cost = Counter("kernelevolve_model_dollars", "Cost by the price list", by_model)
        self._failures = Counter("kernelevolve_model_failures", "Attempts that failed", ("model", "kind"))
        self._in_flight = Gauge("kernelevolve_model_in_flight", "Requests under way", by_model)
        self._seconds = Histogram("kernelevolve_model_seconds", "Seconds to an answer", _SECONDS, by_model)

        self._sums: dict[tuple[Counter, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        self._times: list[tuple[str, float]] = []
        self._in_flight_by_model: dict[str, int] = {}
        self._reported = time.monotonic()

    def answered(self, exchange: Exchange) -> None:
        tags = {"model": exchange.model}
        self._add(self._answers, 1, tags)
        tokens = exchange.completion.tokens
        for kind, count in (("read", tokens.read), ("cached", tokens.cached), ("written", tokens.written)):
            self._add(self._tokens, count, {**tags, "kind": kind})
        self._add(self._cost, exchange.cost, tags)
        self._times.append((exchange.model, exchange.seconds))
        self._report()

    def failed(self, model: str, kind: str) -> None:
        self._add(self._failures, 1, {"model": model, "kind": kind})
        self._report()

    def in_flight(self, model: str, count: int) -> None:
        self._in_flight_by_model[model] = count
        if count == 0:
            self._reported = 0.0
        self._report()

    def _add(self, counter: Counter, amount: float, tags: Mapping[str, str]) -> None:
        if amount:
            self._sums[counter, tuple(tags.items())] += amount

    def _report(self) -> None:
        """Report at most once per second, since a call to Ray's metrics is slow, and when nothing is in flight."""
        now = time.monotonic()
        if now - self._reported < _SECOND:
            return
        self._reported = now
        for (counter, tags), amount in self._sums.items():
            counter.inc(amount, dict(tags))
        self._sums.clear()
        for model, seconds in self._times:
            self._seconds.observe(seconds, {"model": model})
        self._times.clear()
        for model, count in self._in_flight_by_model.items():
            self._in_flight.set(count, {"model": model})
