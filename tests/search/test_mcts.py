from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Expansion, Phase
from kernelevolve.search.base import Strategy, View
from kernelevolve.search.mcts import Mcts
from tests.conformance.records import make_entry
from tests.conformance.strategy import StrategyConformance, simulate
from tests.search.shipped import shipped


class TestMctsConformance(StrategyConformance):
    def make(self, seed: int) -> Strategy:
        return shipped("mcts", seed)


def mcts(**changes: Any) -> Mcts:
    plain: dict[str, Any] = {"drafts": 2, "exploration": 0.2, "widening": 1.0, "widening_power": 0.5}
    plain |= {"best_share": 0.5, "crossover": 0.0, "repairs": 0, "repair_share": 0.0}
    return Mcts(seed=1, **plain | changes)


def grown(strategy: Strategy, steps: int, worth: Any, seed: int = 0) -> Counter[str]:
    """How many descendants each draft has after so many steps; `worth`: the fitness of a child of a draft."""
    rng = Random(seed)
    top: dict[str, str] = {}
    for step in range(steps):
        asked = strategy.ask(View(step=step))
        draft = top[asked.parents[0]] if asked.parents else f"run.0.{step}"
        top[f"run.0.{step}"] = draft
        strategy.tell(make_entry(step, worth(draft, rng), parents=asked.parents)[0])
    return Counter(top.values())


@pytest.mark.parametrize(("exploration", "least", "most"), [(0.2, 200, 300), (2.0, 60, 200)])
def test_most_is_made_from_what_pays_and_exploration_spreads_it(exploration: float, least: int, most: int) -> None:
    strategy = mcts(widening_power=0.3, exploration=exploration)
    found = grown(strategy, 300, lambda draft, rng: rng.random() + (draft == "run.0.1"))
    assert least < found["run.0.1"] < most
    assert found.most_common(1)[0][0] == "run.0.1"


def test_one_outlier_leaves_the_others_as_far_apart_as_they_were() -> None:
    """Were rewards times, a kernel of 1000x would make 1.0 and 2.0 the same."""
    plain, with_outlier = mcts(drafts=3), mcts(drafts=3)
    for step, fitness in enumerate((1.0, 2.0)):
        for strategy in (plain, with_outlier):
            strategy.tell(make_entry(step, fitness)[0])
    plain.tell(make_entry(2, 3.0)[0])
    with_outlier.tell(make_entry(2, 3000.0)[0])
    assert [plain.ask(View(step=s)) for s in range(3, 40)] == [with_outlier.ask(View(step=s)) for s in range(3, 40)]


def test_what_is_in_flight_counts_as_visited_in_vain() -> None:
    strategy = mcts(drafts=4, widening_power=0.0, exploration=1.0)
    for step in range(4):
        strategy.tell(make_entry(step, 1.0 + step)[0])
    flying: list[Expansion] = []
    for step in range(4, 8):
        flying.append(strategy.ask(View(step=step, in_flight=tuple(flying))))
    assert flying[0].parents == ("run.0.3",)
    assert len({expansion.parents for expansion in flying}) == 4, "each goes elsewhere"


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0]), min_size=1, max_size=120), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_the_tree_adds_up(fitnesses: list[float], seed: int) -> None:
    strategy = mcts(crossover=0.3, repairs=1, repair_share=0.3)
    log, _ = simulate(strategy, fitnesses, seed)
    places = strategy._places
    assert places[""].visits == len(log)
    kernels = {node.kernel_id for node in log if node.fitness > 0}
    assert len(places) == len(kernels) + 1
    for name, place in places.items():
        below = [places[child] for child in place.children]
        assert all(places[child].parent == name for child in place.children)
        failures = place.tries - len(below)
        assert place.visits == sum(child.visits for child in below) + failures + (name != "")
        assert place.best == max([place.fitness, *(child.best for child in below)])
        assert 0 <= place.reward <= place.visits


def test_a_node_gets_more_children_as_more_comes_of_it() -> None:
    strategy = mcts(drafts=1, widening=1.0, widening_power=0.5)
    for step in range(200):
        asked = strategy.ask(View(step=step))
        strategy.tell(make_entry(step, 1.0 + step % 7, parents=asked.parents)[0])
    for place in strategy._places.values():
        assert place.tries <= math.ceil(max(1, place.visits) ** 0.5) + 1


def test_a_repair_is_the_child_of_the_correct_node_above() -> None:
    strategy = mcts(drafts=1, repairs=2, repair_share=1.0)
    strategy.tell(make_entry(0, 1.0)[0])
    strategy.tell(make_entry(1, 0.0, parents=("run.0.0",))[0])
    assert strategy.ask(View(step=2)).parents == ("run.0.1",)
    strategy.tell(make_entry(2, 0.0, parents=("run.0.1",))[0])
    strategy.tell(make_entry(3, 2.0, parents=("run.0.2",))[0])
    assert strategy._places["run.0.0"].children == ["run.0.3"]
    assert strategy._places["run.0.0"].best == 2.0


def test_crossover_mixes_two_subtrees() -> None:
    strategy = mcts(crossover=1.0, drafts=2, widening=0.5, widening_power=0.0)
    strategy.tell(make_entry(0, 2.0)[0])
    assert strategy.ask(View(step=2)).parents == ("run.0.0",)
    strategy.tell(make_entry(1, 1.0)[0])
    strategy.tell(make_entry(2, 5.0, parents=("run.0.1",))[0])
    strategy.tell(make_entry(3, 4.0, parents=("run.0.0",))[0])
    pairs = [strategy.ask(View(step=step)).parents for step in range(4, 30)]
    assert {len(pair) for pair in pairs} == {2}
    assert all(("run.0.2" in pair) != (pair[0] == "run.0.1") for pair in pairs)


def test_drafts_go_on_as_the_tree_grows() -> None:
    strategy = mcts(drafts=1, widening=1.0, widening_power=0.5)
    drafts = 0
    for step in range(100):
        asked = strategy.ask(View(step=step))
        drafts += asked.phase is Phase.DRAFT
        strategy.tell(make_entry(step, 1.0, parents=asked.parents)[0])
    assert 5 <= drafts <= 20


@pytest.mark.parametrize(
    ("name", "value"),
    [("exploration", 0.0), ("widening", -1.0), ("widening_power", 2.0), ("best_share", 1.5), ("crossover", -0.1)],
)
def test_impossible_settings(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"search\.{name}="):
        mcts(**{name: value})
