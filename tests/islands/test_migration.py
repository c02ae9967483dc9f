from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from islands.migration import MigrantChoice, Migration, Topology, neighbours
from islands.settings import IslandSettings
from tests.conformance.records import make_entry


def migration(**changes: Any) -> Migration:
    plain: dict[str, Any] = {"island": 0, "count": 4, "topology": Topology.RING, "interval": 10, "rate": 1.0}
    return Migration(**plain | {"migrants": 2, "choice": MigrantChoice.BEST, "seed": 0} | changes)


@given(st.sampled_from(Topology), st.integers(1, 20), st.integers(0, 99))
def test_every_island_is_reached_from_every_other(topology: Topology, count: int, seed: int) -> None:
    rng = Random(seed)
    reached, left = {0}, [0]
    for _ in range(2000):
        if not left and (topology is not Topology.RANDOM or len(reached) == count):
            break
        island = left.pop() if left else rng.choice(sorted(reached))
        found = neighbours(topology, island, count, rng)
        assert island not in found
        assert len(set(found)) == len(found)
        assert all(0 <= other < count for other in found)
        left += set(found) - reached
        reached |= set(found)
    assert reached == set(range(count))


def test_topologies() -> None:
    rng = Random(0)
    assert [neighbours(Topology.RING, island, 3, rng) for island in range(3)] == [(1,), (2,), (0,)]
    assert [neighbours(Topology.STAR, island, 3, rng) for island in range(3)] == [(1, 2), (0,), (0,)]
    assert neighbours(Topology.COMPLETE, 1, 4, rng) == (0, 2, 3)
    assert [neighbours(Topology.TORUS, island, 6, rng) for island in (0, 2, 5)] == [(1, 3), (0, 5), (3, 2)]
    assert Counter(neighbours(Topology.RANDOM, 1, 3, rng) for _ in range(300)).keys() == {(0,), (2,)}


def test_the_fittest_are_sent_once_and_wrong_kernels_stay_at_home() -> None:
    sending = migration()
    assert sending.due(10) == {}
    for step, fitness in enumerate((1.0, 3.0, 0.0, 2.0)):
        sending.tell(make_entry(step, fitness)[0])
    assert sending.due(19) == {}
    assert sending.due(20) == {1: ("run.0.1", "run.0.3")}
    assert sending.due(30) == {}
    sending.tell(make_entry(9, 9.0)[0])
    assert sending.due(40) == {1: ("run.0.9",)}


def test_without_migrants_nothing_is_sent() -> None:
    sending = migration(migrants=0)
    sending.tell(make_entry(0, 1.0)[0])
    assert sending.due(10) == {}


def test_random_migrants_are_any_correct_ones() -> None:
    sent: Counter[str] = Counter()
    for seed in range(200):
        sending = migration(choice=MigrantChoice.RANDOM, seed=seed, migrants=1)
        for step in range(40):
            sending.tell(make_entry(step, float(step % 4))[0])
        sent.update(*sending.due(10).values())
    assert all(int(name.split(".")[2]) % 4 for name in sent)
    assert len(sent) == 30
    assert max(sent.values()) < 25


def test_the_rate_is_the_share_of_the_ways_that_are_taken() -> None:
    taken = 0
    sending = migration(rate=0.3, topology=Topology.COMPLETE, choice=MigrantChoice.RANDOM)
    sending.tell(make_entry(0, 1.0)[0])
    for number in range(10, 10_010, 10):
        taken += len(sending.due(number))
    assert 0.27 < taken / 3000 < 0.33


def test_what_is_sent_follows_from_the_seed_and_the_nodes() -> None:
    first, again = (migration(choice=MigrantChoice.RANDOM, topology=Topology.RANDOM, seed=3) for _ in range(2))
    for step in range(100):
        for one in (first, again):
            one.tell(make_entry(step, 1.0)[0])
    again.due(10)
    assert first.due(100) == again.due(100) != {}


@pytest.mark.parametrize(
    ("name", "value"), [("migration_rate", 1.5), ("topology", "square"), ("count", 0), ("choice", "worst")]
)
def test_impossible_settings(name: str, value: object, island_settings: IslandSettings) -> None:
    with pytest.raises(ValidationError, match=name):
        IslandSettings.model_validate({**island_settings.model_dump(), name: value})
