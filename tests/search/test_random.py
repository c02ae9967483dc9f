from __future__ import annotations

from collections import Counter

from kernelevolve.core.graph import Phase
from kernelevolve.search.base import Strategy, View
from kernelevolve.search.random import RandomWalk
from tests.conformance.records import make_entry
from tests.conformance.strategy import StrategyConformance
from tests.search.shipped import shipped


class TestRandomConformance(StrategyConformance):
    def make(self, seed: int) -> Strategy:
        return shipped("random", seed)


def test_every_correct_node_is_as_likely_whatever_its_speed() -> None:
    strategy = RandomWalk(seed=0, drafts=1, repairs=0, repair_share=0.0)
    for step, fitness in enumerate((17.0, 0.1, 0.0, 1.0)):
        strategy.tell(make_entry(step, fitness)[0])
    asked = Counter(strategy.ask(View(step=step)).parents[0] for step in range(10, 910))
    assert set(asked) == {"run.0.0", "run.0.1", "run.0.3"}
    assert all(250 < count < 350 for count in asked.values())


def test_without_a_correct_node_it_drafts() -> None:
    strategy = RandomWalk(seed=0, drafts=1, repairs=0, repair_share=0.0)
    strategy.tell(make_entry(0, 0.0)[0])
    assert strategy.ask(View(step=1)).phase is Phase.DRAFT
