from __future__ import annotations

import pytest

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Expansion, Memory, Phase
from kernelevolve.search.base import Strategy, View
from kernelevolve.search.greedy import Greedy
from tests.conformance.records import make_entry
from tests.conformance.strategy import StrategyConformance
from tests.search.shipped import shipped


def greedy(**changes: float) -> Greedy:
    settings = {"drafts": 2, "width": 3, "exploration": 0.0, "repairs": 1, "repair_share": 0.0} | changes
    return Greedy(seed=1, **settings)  # type: ignore[arg-type]


class TestGreedyConformance(StrategyConformance):
    def make(self, seed: int) -> Strategy:
        return shipped("greedy", seed)


def test_the_best_is_expanded_until_it_has_its_children() -> None:
    strategy = greedy()
    strategy.tell(make_entry(0, 1.0)[0])
    strategy.tell(make_entry(1, 2.0)[0])
    for step in range(2, 5):
        expansion = strategy.ask(View(step=step))
        assert expansion.parents == ("run.0.1",)
        assert expansion.memory is (Memory.PARENT if step == 2 else Memory.BOTH)
        strategy.tell(make_entry(step, 0.5, parents=expansion.parents)[0])
    assert strategy.ask(View(step=5)).parents == ("run.0.0",)


def test_children_in_flight_count() -> None:
    strategy = greedy()
    strategy.tell(make_entry(0, 1.0)[0])
    strategy.tell(make_entry(1, 2.0)[0])
    flying = tuple(Expansion(step=step, phase=Phase.EXPAND, parents=("run.0.1",), seed=0) for step in (2, 3, 4))
    assert strategy.ask(View(step=5, in_flight=flying)).parents == ("run.0.0",)


def test_a_known_kernel_is_no_further_node_to_expand() -> None:
    strategy = greedy(width=1)
    strategy.tell(make_entry(0, 2.0)[0])
    strategy.tell(make_entry(1, 2.0, kernel=0, parents=("run.0.0",), cached=True)[0])
    assert strategy.ask(View(step=2)).phase is Phase.DRAFT


def test_exploration_reaches_every_open_node() -> None:
    strategy = greedy(exploration=1.0)
    for step in range(4):
        strategy.tell(make_entry(step, 1.0 + step)[0])
    assert {strategy.ask(View(step=step)).parents[0] for step in range(2, 60)} == {f"run.0.{n}" for n in range(4)}


@pytest.mark.parametrize("repairs", [0, 1, 3])
def test_a_chain_of_repairs_is_bounded(repairs: int) -> None:
    strategy = greedy(drafts=1, repairs=repairs, repair_share=1.0)
    strategy.tell(make_entry(0, 0.0)[0])
    chain = 0
    while (expansion := strategy.ask(View(step=chain + 1))).phase is Phase.EXPAND:
        assert expansion.parents == (f"run.0.{chain}",)
        assert expansion.memory is Memory.PARENT
        chain += 1
        strategy.tell(make_entry(chain, 0.0, parents=expansion.parents)[0])
    assert chain == repairs


def test_the_failure_of_the_fittest_parent_is_repaired_first() -> None:
    strategy = greedy(repair_share=1.0)
    strategy.tell(make_entry(0, 1.0)[0])
    strategy.tell(make_entry(1, 2.0)[0])
    strategy.tell(make_entry(2, 0.0, parents=("run.0.1",))[0])
    strategy.tell(make_entry(3, 0.0, parents=("run.0.0",))[0])
    first = strategy.ask(View(step=4))
    assert first.parents == ("run.0.2",)
    assert strategy.ask(View(step=5, in_flight=(first,))).parents == ("run.0.3",)


@pytest.mark.parametrize(
    ("name", "value"), [("drafts", 0), ("width", 0), ("exploration", 1.5), ("repairs", -1), ("repair_share", -0.1)]
)
def test_impossible_settings(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"search\.{name}="):
        greedy(**{name: value})
