"""Which of several models is asked."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from kernelevolve.core.usage import Usage
from kernelevolve.llm.choosing import Chooser
from kernelevolve.llm.settings import ModelChoice

EQUAL = {"small": 1.0, "large": 1.0}


def choices(chooser: Chooser, count: int = 2000) -> Counter[str]:
    return Counter(chooser.choose(Random(seed)) for seed in range(count))


def test_by_weight() -> None:
    found = choices(Chooser(ModelChoice.WEIGHTS, {"a": 3.0, "b": 1.0}))
    assert 2.6 < found["a"] / found["b"] < 3.5


def played(gains: dict[str, float], prices: dict[str, float], chance: float = 0.5, rounds: int = 400) -> Counter[str]:
    """What a bandit asks in the last half of so many rounds, where models improve kernels so much at such prices."""
    chooser, rng, asked = Chooser(ModelChoice.BANDIT, EQUAL), Random(7), Counter[str]()
    for number in range(rounds):
        name = chooser.choose(rng)
        fitness = 1.0 + gains[name] if rng.random() < chance else 0.5
        chooser.tell(name, fitness, 1.0, Usage(tokens=100, cost=prices[name]))
        asked[name] += number >= rounds // 2
    return asked


def test_what_pays_is_asked_most_and_the_other_now_and_then() -> None:
    assert played({"small": 0.1, "large": 0.5}, {"small": 1.0, "large": 1.0})["large"] > 150
    assert played({"small": 0.1, "large": 0.5}, {"small": 1.0, "large": 50.0})["small"] > 150
    assert min(played({"small": 0.1, "large": 0.1}, {"small": 1.0, "large": 1.0}).values()) > 20


def test_before_anything_is_known_weights_count() -> None:
    assert choices(Chooser(ModelChoice.BANDIT, {"a": 9.0, "b": 1.0}))["a"] > 1400


def test_what_is_told_decides_and_strangers_do_not() -> None:
    first, second = Chooser(ModelChoice.BANDIT, EQUAL), Chooser(ModelChoice.BANDIT, EQUAL)
    for chooser in (first, second):
        chooser.tell("small", 2.0, 1.0, Usage(tokens=10))
        chooser.tell("large", 0.0, 0.0, Usage(tokens=10))
    second.tell("", 9.0, 1.0, Usage())
    second.tell("stranger", 9.0, 1.0, Usage(tokens=5))
    assert choices(first) == choices(second)
    with pytest.raises(ValueError, match="no model"):
        Chooser(ModelChoice.BANDIT, {})
