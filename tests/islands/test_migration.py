from __future__ import annotations

from islands.migration import Emigrants, ring
from tests.conformance.records import make_entry


def test_the_ring_reaches_every_island() -> None:
    assert ring(0, 1) == ()
    assert [ring(island, 3) for island in range(3)] == [(1,), (2,), (0,)]


def test_the_fittest_are_sent_once() -> None:
    emigrants = Emigrants(2)
    for step, fitness in enumerate((1.0, 3.0, 0.0, 2.0)):
        emigrants.tell(make_entry(step, fitness)[0])
    assert emigrants.take() == ("run.0.1", "run.0.3")
    assert emigrants.take() == ()
    emigrants.tell(make_entry(9, 9.0)[0])
    assert emigrants.take() == ("run.0.9",)


def test_wrong_kernels_stay_at_home() -> None:
    emigrants = Emigrants(2)
    emigrants.tell(make_entry(0, 0.0)[0])
    assert emigrants.take() == ()
