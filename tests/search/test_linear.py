from __future__ import annotations

from typing import Any

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Memory, Phase
from kernelevolve.search.base import Strategy, View
from kernelevolve.search.linear import Linear
from tests.conformance.records import make_entry
from tests.conformance.strategy import StrategyConformance
from tests.search.shipped import shipped


class TestLinearConformance(StrategyConformance):
    def make(self, seed: int) -> Strategy:
        return shipped("linear", seed)


def linear(**changes: Any) -> Linear:
    settings: dict[str, Any] = {"drafts": 2, "slack": 0.1, "patience": 3, "repairs": 0, "repair_share": 0.0}
    return Linear(seed=1, **settings | changes)


def tip(strategy: Strategy) -> tuple[str, ...]:
    return strategy.ask(View(step=99)).parents


def test_the_chain_begins_with_the_best_draft_and_grows_at_its_tip() -> None:
    strategy = linear()
    strategy.tell(make_entry(0, 1.0)[0])
    strategy.tell(make_entry(1, 2.0)[0])
    strategy.tell(make_entry(2, 1.95)[0])  # A draft that came late.
    assert tip(strategy) == ("run.0.1",)
    strategy.tell(make_entry(3, 1.9, parents=("run.0.1",))[0])
    assert tip(strategy) == ("run.0.3",), "within the slack"
    strategy.tell(make_entry(4, 1.6, parents=("run.0.3",))[0])
    assert tip(strategy) == ("run.0.3",), "too slow"
    assert strategy.ask(View(step=5)).memory is Memory.PARENT


def test_a_chain_that_stalls_ends_and_the_next_draft_begins_another() -> None:
    strategy = linear()
    strategy.tell(make_entry(0, 5.0)[0])
    for step in range(1, 4):
        assert tip(strategy) == ("run.0.0",)
        strategy.tell(make_entry(step, 0.5 * (step != 2), parents=("run.0.0",))[0])
    assert strategy.ask(View(step=4)).phase is Phase.DRAFT
    strategy.tell(make_entry(4, 0.0)[0])
    assert strategy.ask(View(step=5)).phase is Phase.DRAFT
    strategy.tell(make_entry(5, 1.0)[0])
    assert tip(strategy) == ("run.0.5",)


@pytest.mark.parametrize(("name", "value"), [("slack", 1.5), ("patience", 0)])
def test_impossible_settings(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"search\.{name}="):
        linear(**{name: value})
