from __future__ import annotations

import pytest

from islands.memory import History
from kernelevolve.core.graph import Expansion, Memory, Phase
from tests.conformance.records import make_entry


def history(shown: int = 4) -> History:
    """0 -> 1 -> 2, and 0 -> 3 and 1 -> 4, fitness by step but for 4, which failed."""
    result = History(shown)
    for step, parent, fitness in ((0, None, 1.0), (1, 0, 2.0), (2, 1, 3.0), (3, 0, 4.0), (4, 1, 0.0)):
        parents = () if parent is None else (f"run.0.{parent}",)
        result.tell(make_entry(step, fitness, parents=parents)[0])
    return result


@pytest.mark.parametrize(
    ("memory", "steps"),
    [(Memory.CLEAN, []), (Memory.PARENT, [0]), (Memory.SIBLINGS, [2, 4]), (Memory.BOTH, [2, 0, 4])],
)
def test_what_a_memory_mode_shows(memory: Memory, steps: list[int]) -> None:
    expansion = Expansion(step=9, phase=Phase.EXPAND, parents=("run.0.1",), memory=memory, seed=0)
    assert history().choose(expansion) == [f"run.0.{step}" for step in steps]


def test_a_node_of_many_children_shows_a_bounded_number_of_the_fittest() -> None:
    tree = History(3)
    tree.tell(make_entry(0)[0])
    for step in range(1, 200):
        tree.tell(make_entry(step, 50.0 if step == 7 else 1.0, parents=("run.0.0",))[0])
    expansion = Expansion(step=200, phase=Phase.EXPAND, parents=("run.0.0",), memory=Memory.SIBLINGS, seed=0)
    chosen = tree.choose(expansion)
    assert len(chosen) == 3
    assert chosen[0] == "run.0.7"


def test_unknown_ancestors_of_a_migrant_are_left_out() -> None:
    tree = History(3)
    tree.tell(make_entry(5, parents=("run.1.2",), island=1)[0])
    expansion = Expansion(step=0, phase=Phase.EXPAND, parents=("run.1.5",), memory=Memory.BOTH, seed=0)
    assert tree.choose(expansion) == []
