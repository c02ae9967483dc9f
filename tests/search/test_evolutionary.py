from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelevolve.core.errors import UserError
from kernelevolve.core.graph import Phase
from kernelevolve.search.base import Strategy, View
from kernelevolve.search.evolutionary import Evolutionary, Grid
from tests.conformance.records import make_entry
from tests.conformance.strategy import StrategyConformance
from tests.search.shipped import shipped


class TestEvolutionaryConformance(StrategyConformance):
    def make(self, seed: int) -> Strategy:
        return shipped("evolutionary", seed)


def evolutionary(**changes: Any) -> Evolutionary:
    plain: dict[str, Any] = {"drafts": 1, "traits": ["size"], "bins": 4, "tournament": 1, "crossover": 0.0}
    return Evolutionary(seed=1, **plain | {"stagnation": 10**6, "repairs": 0, "repair_share": 0.0} | changes)


def parents(strategy: Strategy, island: int = 0) -> set[str]:
    asked = (strategy.ask(View(step=step, island=island)) for step in range(1000, 1200))
    return {parent for expansion in asked for parent in expansion.parents}


def tell(strategy: Strategy, step: int, fitness: float, size: float, island: int = 0) -> None:
    strategy.tell(make_entry(step, fitness, traits={"size": size} if size else {}, island=island)[0])


def test_the_best_of_each_cell_is_kept() -> None:
    strategy = evolutionary()
    for step, (fitness, size) in enumerate([(1.0, 1.0), (9.0, 1.1), (2.0, 100.0), (1.5, 99.0), (0.0, 50.0)]):
        tell(strategy, step, fitness, size)
    assert parents(strategy) == {"run.0.1", "run.0.2"}


def test_kernels_whose_traits_nobody_knows_have_a_cell_of_their_own() -> None:
    strategy = evolutionary()
    tell(strategy, 0, 1.0, 1.0)
    tell(strategy, 1, 0.5, 0.0)
    tell(strategy, 2, 0.7, 0.0)
    assert parents(strategy) == {"run.0.0", "run.0.2"}


def test_when_a_range_moves_all_are_sorted_in_anew() -> None:
    strategy = evolutionary(bins=2)
    tell(strategy, 0, 1.0, 1.0)
    tell(strategy, 1, 2.0, 4.0)
    assert parents(strategy) == {"run.0.0", "run.0.1"}
    tell(strategy, 2, 0.5, 1e6)  # Now the two are of one kind.
    assert parents(strategy) == {"run.0.1", "run.0.2"}


def test_pressure_grows_with_the_tournament() -> None:
    strategy = evolutionary(tournament=4)
    for step in range(4):
        tell(strategy, step, 1.0 + step, 10.0**step)
    assert parents(strategy) == {"run.0.3"}


def test_a_stagnant_island_builds_on_what_came_from_others_and_on_drafts() -> None:
    strategy = evolutionary(stagnation=3)
    tell(strategy, 0, 5.0, 1.0)
    tell(strategy, 0, 1.0, 100.0, island=1)
    assert parents(strategy) == {"run.0.0", "run.1.0"}
    for step in range(1, 4):
        tell(strategy, step, 0.5, 1.0)
    assert parents(strategy) == {"run.1.0"}
    phases = Counter(strategy.ask(View(step=step)).phase for step in range(50, 250))
    assert 60 < phases[Phase.DRAFT] < 140
    tell(strategy, 9, 6.0, 1.0)
    assert parents(strategy) == {"run.0.9", "run.1.0"}


@given(st.lists(st.tuples(st.floats(0.0, 9.0), st.floats(1e-3, 1e9), st.floats(1.0, 9.0)), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_the_archive_is_what_the_cells_say(told: list[tuple[float, float, float]]) -> None:
    strategy = evolutionary(traits=["a", "b"], bins=3)
    nodes = []
    for step, (fitness, a, b) in enumerate(told):
        node, _ = make_entry(step, fitness, traits={"a": a, "b": b})
        strategy.tell(node)
        nodes.append(node)
    elites = {elite.id for elite in strategy._elites.values()}
    assert set(strategy._origin) == elites
    assert len(elites) <= 9
    best = max(nodes, key=lambda node: node.fitness)
    assert (
        not elites
        if best.fitness == 0
        else best.id in elites or any(node.fitness == best.fitness and node.id in elites for node in nodes)
    )
    for cell, elite in strategy._elites.items():
        assert strategy._grid.cell(strategy._origin[elite.id][1]) == cell


def test_bins_are_equal_on_a_logarithmic_scale() -> None:
    grid = Grid(["a"], 4)
    for value in (1.0, 1e4):
        assert grid.widen({"a": value})
    assert not grid.widen({"a": Random(0).uniform(1.0, 1e4)})
    assert [grid.cell({"a": value}) for value in (1.0, 9.0, 11.0, 1e3 + 1, 1e4)] == [(0,), (0,), (1,), (3,), (3,)]
    assert grid.cell({}) == (-1,)


@pytest.mark.parametrize(
    ("name", "value"),
    [("traits", []), ("traits", ["a", "a"]), ("bins", 0), ("tournament", 0), ("stagnation", 0), ("crossover", 2.0)],
)
def test_impossible_settings(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{name}"):
        evolutionary(**{name: value})
