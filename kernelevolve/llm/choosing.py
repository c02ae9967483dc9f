"""Which of several models is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from kernelevolve.core.usage import Usage
from kernelevolve.llm.settings import Choice


@dataclass
class _Record:
    """Of one model."""

    asked: int = 0
    improved: int = 0
    gain: float = 0.0
    price: float = 0.0


class Chooser:
    """All state follows from what it was told; its random choices from the generator that it is given.

    The bandit samples, for each model, how likely an answer improves a kernel (Thompson 1933, with a Beta posterior), times how much it
    improves one on average, over what an answer costs on average (as in Xia et al. 2015, "Thompson sampling for budgeted multi-armed
    bandits"), and takes the largest. What a model has not shown yet is assumed to be as with the others.
    """

    def __init__(self, choice: Choice, weights: Mapping[str, float]) -> None:
        """`weights`: by name of the model."""
        if not weights:
            raise ValueError("there is no model")
        self._choice = choice
        self._weights = dict(weights)
        self._records = {name: _Record() for name in weights}

    def tell(self, model: str, fitness: float, promise: float, usage: Usage) -> None:
        """An answer of that model became a kernel. `promise`: the fitness of what it was made from, 0 where that was wrong or nothing."""
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
        """The name of a model."""
        names = list(self._weights)
        if self._choice is Choice.WEIGHTS or len(names) == 1:
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
        # What the user expects of it counts as long as nothing is known.
        return likely * gain / max(price, 1e-12) * float(self._weights[name] ** (1 / (1 + own.asked)))
