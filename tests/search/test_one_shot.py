from __future__ import annotations

from kernelevolve.core.graph import Phase
from kernelevolve.search.base import Strategy, View
from kernelevolve.search.one_shot import OneShot
from tests.conformance.records import make_entry
from tests.conformance.strategy import StrategyConformance
from tests.search.shipped import shipped


class TestOneShotConformance(StrategyConformance):
    expands = False

    def make(self, seed: int) -> Strategy:
        return shipped("one_shot", seed)


def test_it_never_expands() -> None:
    strategy = OneShot(seed=0)
    for step in range(50):
        assert strategy.ask(View(step=step)).phase is Phase.DRAFT
        strategy.tell(make_entry(step, 1.0 + step)[0])
