"""The same numbers as metrics of Ray, which Prometheus can take from each node."""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from kernelevolve.llm.exchange import Exchange

_SECONDS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]


class RayGauges:
    """For a process of Ray's."""

    def __init__(self) -> None:
        by_model = ("model",)
        self._answers = Counter("kernelevolve_model_answers", "Answers of a model", by_model)
        self._tokens = Counter("kernelevolve_model_tokens", "Tokens read, cached, written", ("model", "kind"))
        self._cost = Counter("kernelevolve_model_dollars", "Cost by the price list", by_model)
        self._failures = Counter("kernelevolve_model_failures", "Attempts that failed", ("model", "kind"))
        self._in_flight = Gauge("kernelevolve_model_in_flight", "Requests under way", by_model)
        self._seconds = Histogram("kernelevolve_model_seconds", "Seconds to an answer", _SECONDS, by_model)

    def answered(self, exchange: Exchange) -> None:
        tags = {"model": exchange.model}
        self._answers.inc(1, tags)
        tokens = exchange.completion.tokens
        for kind, count in (("read", tokens.read), ("cached", tokens.cached), ("written", tokens.written)):
            if count:
                self._tokens.inc(count, {**tags, "kind": kind})
        if exchange.cost:
            self._cost.inc(exchange.cost, tags)
        self._seconds.observe(exchange.seconds, tags)

    def failed(self, model: str, kind: str) -> None:
        self._failures.inc(1, {"model": model, "kind": kind})

    def in_flight(self, model: str, count: int) -> None:
        self._in_flight.set(count, {"model": model})
