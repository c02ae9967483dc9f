"""What every strategy keeps to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernelevolve.core.graph import Expansion, Memory, Node, Phase
from kernelevolve.search.base import Strategy, View
from tests.conformance.records import make_entry

# Each strategy's class runs the inherited tests with an instance of its own, which is what this check warns of.
_INHERITED = [HealthCheck.differing_executors]
_FITNESS = st.one_of(st.just(0.0), st.floats(0.01, 20.0), st.sampled_from([1.0, 2.0]))


def simulate(strategy: Strategy, fitnesses: list[float], seed: int, width: int = 3) -> tuple[list[Node], list[View]]:
    """A run with `width` candidates in flight that end in any order, some with a kernel that was seen before."""
    rng = Random(seed)
    log: list[Node] = []
    views: list[View] = []
    flying: list[Expansion] = []
    for step in range(len(fitnesses) + width):
        if step < len(fitnesses):
            views.append(View(step=step, in_flight=tuple(flying)))
            flying.append(strategy.ask(views[-1]))
        while len(flying) >= (width if step < len(fitnesses) else 1):
            done = flying.pop(rng.randrange(len(flying)))
            known = rng.choice(log) if log and rng.random() < 0.2 else None
            kernel, fitness = (int(known.id.split(".")[2]), known.fitness) if known else (None, fitnesses[done.step])
            if known and known.cached:
                kernel, fitness = None, fitnesses[done.step]
            node, _ = make_entry(done.step, fitness, kernel=kernel, parents=done.parents, cached=kernel is not None)
            log.append(node)
            strategy.tell(node)
    return log, views


class StrategyConformance(ABC):
    expands: ClassVar[bool] = True
    """Whether it ever builds on what it was told."""

    @abstractmethod
    def make(self, seed: int) -> Strategy: ...

    @given(st.lists(_FITNESS, min_size=1, max_size=60), st.integers(0, 99))
    @settings(max_examples=40, deadline=None, suppress_health_check=_INHERITED)
    def test_telling_the_log_again_gives_the_same_answers(self, fitnesses: list[float], seed: int) -> None:
        strategy = self.make(seed)
        log, _ = simulate(strategy, fitnesses, seed)
        replayed = self.make(seed)
        for node in log:
            replayed.tell(node)
        for step in range(len(log), len(log) + 20):
            view = View(step=step)
            assert replayed.ask(view) == strategy.ask(view)

    @given(st.lists(_FITNESS, min_size=1, max_size=40), st.integers(0, 99))
    @settings(max_examples=30, deadline=None, suppress_health_check=_INHERITED)
    def test_ask_changes_nothing(self, fitnesses: list[float], seed: int) -> None:
        once, often = self.make(seed), self.make(seed)
        log, _ = simulate(once, fitnesses, seed)
        for node in log:
            often.ask(View(step=node.step + 1))
            often.tell(node)
            often.ask(View(step=node.step))
        view = View(step=len(log))
        assert often.ask(view) == once.ask(view)

    @given(st.lists(_FITNESS, min_size=1, max_size=60), st.integers(0, 99))
    @settings(max_examples=30, deadline=None, suppress_health_check=_INHERITED)
    def test_parents_were_told_and_drafts_come_first(self, fitnesses: list[float], seed: int) -> None:
        strategy = self.make(seed)
        told: set[str] = set()
        log, views = simulate(strategy, fitnesses, seed)
        replayed = self.make(seed)
        assert replayed.ask(View(step=1000)).phase is Phase.DRAFT
        for node in log:
            told.add(node.id)
            replayed.tell(node)
            for view in views[:: max(1, len(views) // 5)]:
                expansion = replayed.ask(View(step=view.step))
                assert expansion.step == view.step
                assert set(expansion.parents) <= told
                assert expansion.phase is Phase.EXPAND or expansion.memory is Memory.CLEAN

    def test_another_seed_gives_other_choices(self) -> None:
        seeds = {self.make(seed).ask(View(step=0)).seed for seed in range(10)}
        steps = {self.make(0).ask(View(step=step)).seed for step in range(10)}
        assert len(seeds) == len(steps) == 10

    def test_migrants_become_parents(self) -> None:
        strategy = self.make(0)
        strategy.tell(make_entry(3, 2.0, island=7)[0])
        asked = [strategy.ask(View(step=step)) for step in range(50, 80)]
        assert any(expansion.parents == ("run.7.3",) for expansion in asked) is self.expands
