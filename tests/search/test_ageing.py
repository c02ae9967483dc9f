from __future__ import annotations

from typing import Any

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.search.ageing import Ageing
from kernelevolve.search.base import Strategy, View
from tests.conformance.records import make_entry
from tests.conformance.strategy import StrategyConformance
from tests.search.shipped import shipped


def ageing(**changes: Any) -> Ageing:
    settings: dict[str, Any] = {"drafts": 1, "population": 4, "elite": 1, "tournament": 2, "crossover": 0.0}
    return Ageing(seed=1, **settings | {"repairs": 0, "repair_share": 0.0} | changes)


def parents(strategy: Strategy) -> set[str]:
    return {parent for step in range(10, 200) for parent in strategy.ask(View(step=step)).parents}


class TestAgeingConformance(StrategyConformance):
    def make(self, seed: int) -> Strategy:
        return shipped("ageing", seed)


def test_the_elite_stays_and_the_oldest_others_go() -> None:
    strategy = ageing(tournament=1)
    for step, fitness in enumerate((9.0, 1.0, 2.0, 3.0, 4.0, 5.0)):
        strategy.tell(make_entry(step, fitness)[0])
    assert parents(strategy) == {"run.0.0", "run.0.3", "run.0.4", "run.0.5"}


def test_pressure_grows_with_the_tournament() -> None:
    strategy = ageing(tournament=4)
    for step in range(4):
        strategy.tell(make_entry(step, 1.0 + step)[0])
    assert parents(strategy) == {"run.0.3"}


def test_crossover_takes_two_different_parents() -> None:
    strategy = ageing(crossover=1.0)
    strategy.tell(make_entry(0, 1.0)[0])
    assert len(strategy.ask(View(step=5)).parents) == 1
    strategy.tell(make_entry(1, 5.0)[0])
    asked = [strategy.ask(View(step=step)).parents for step in range(2, 40)]
    assert all(sorted(pair) == ["run.0.0", "run.0.1"] for pair in asked)


def test_wrong_kernels_never_enter_the_population() -> None:
    strategy = ageing()
    strategy.tell(make_entry(0, 1.0)[0])
    for step in range(1, 9):
        strategy.tell(make_entry(step, 0.0)[0])
    assert parents(strategy) == {"run.0.0"}


@pytest.mark.parametrize(
    ("name", "value"), [("population", 1), ("elite", 5), ("tournament", 9), ("crossover", 2.0), ("elite", 0)]
)
def test_impossible_settings(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"search\.{name}="):
        ageing(**{name: value})
