"""The choice between several models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from kernelevolve.core.usage import Usage
from kernelevolve.llm.settings import ModelChoice


@dataclass
class _Record:
    """The statistics of one model."""

    asked: int = 0
    improved: int = 0
    gain: float = 0.0
    price: float = 0.0


class Chooser:
    """Selects the model for a request. Its state follows from the results it received.

    The bandit samples the probability that an answer of a model improves a kernel (Thompson 1933, with a Beta
    posterior). It multiplies it by the model's average improvement, divides by its average price (as in Xia et al.
    2015, "Thompson sampling for budgeted multi-armed bandits"), and selects the largest value. Averages start from
    those of all models.
    """

    def __init__(self, choice: ModelChoice, weights: Mapping[str, float]) -> None:
        """Create a chooser. `weights` maps the names of the models to their weights."""
        if not weights:
            raise ValueError("there is no model")
        self._choice = choice
        self._weights = dict(weights)
        self._records = {name: _Record() for name in weights}

    def tell(self, model: str, fitness: float, promise: float, usage: Usage) -> None:
        """Record that an answer of a model became a kernel.

        Args:
            model: The name of the model.
            fitness: The fitness of the kernel.
            promise: The fitness of the parent; 0 if it was wrong or there is none.
            usage: The usage of the answer.
        """
        record = self._records.get(model)
        if record is None:
            return
        gain = math.log(fitness / (promise or 1.0)) if fitness > 0 else 0.0
        record.asked += 1
        record.price += usage.cost or usage.tokens
        if gain > 0:
            record.improved += 1
            record.gain += gain

    def choose(self, rng: Random) -> str:
        """Return the name of the model to ask next."""
        names = list(self._weights)
        if self._choice is ModelChoice.WEIGHTS or len(names) == 1:
            return rng.choices(names, [self._weights[name] for name in names])[0]
        return max(names, key=lambda name: self._value(name, rng))

    def _value(self, name: str, rng: Random) -> float:
        records = self._records.values()
        asked, improved = sum(r.asked for r in records), sum(r.improved for r in records)
        usual_gain = sum(r.gain for r in records) / improved if improved else 1.0
        usual_price = sum(r.price for r in records) / asked if asked else 1.0
        own = self._records[name]
        gain = (own.gain + usual_gain) / (own.improved + 1)
        price = (own.price + usual_price) / (own.asked + 1)
        likely = rng.betavariate(1 + own.improved, 1 + own.asked - own.improved)
        # The user's weight is a prior whose influence decreases with the number of requests.
        return likely * gain / max(price, 1e-12) * float(self._weights[name] ** (1 / (1 + own.asked)))
