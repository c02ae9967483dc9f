"""What an island decides follows from its seed and the nodes that it was told."""

from __future__ import annotations

from islands.population import Population
from kernelevolve.core.graph import Node
from tests.conformance.records import make_entry
from tests.islands.conftest import shipped_settings
from tests.search.shipped import shipped


def population(seed: int = 3) -> Population[str]:
    settings = shipped_settings(migration_interval=4, count=2)
    return Population(0, shipped("evolutionary", seed=seed), settings, seed)


def lived(steps: int) -> tuple[Population[str], list[Node]]:
    """An island after so many steps, and its log, in which every fifth node is a migrant."""
    island, log = population(), []
    for number in range(steps):
        expansion = island.ask(number / steps)
        own, _ = make_entry(expansion.step, float(number % 7), parents=expansion.parents)
        log.append(own)
        island.tell(own, own.kernel_id)
        island.departures()
        if number % 5 == 4:
            migrant, _ = make_entry(number, 9.0 + number, island=1)
            assert island.takes(migrant, migrant.kernel_id)
            log.append(migrant)
            island.tell(migrant, migrant.kernel_id)
    return island, log


def test_telling_the_log_again_gives_the_same_state() -> None:
    island, log = lived(30)
    again = population()
    for node in log:
        again.tell(node, node.kernel_id)
    again.next_step = island.next_step
    assert again.known_kernels == island.known_kernels
    assert [again.ask(0.9) for _ in range(5)] == [island.ask(0.9) for _ in range(5)]


def test_migrants_are_taken_in_once() -> None:
    island, log = lived(10)
    migrant = next(node for node in log if node.island == 1)
    assert not island.takes(migrant, migrant.kernel_id)
    assert not island.is_stranger(migrant.id)
    assert island.is_stranger("run.1.99")
    own = next(node for node in log if node.island == 0)
    assert not island.takes(own, "a kernel that is new")


def test_every_attempt_has_a_seed_of_its_own_and_the_last_is_called_that() -> None:
    island = population()
    expansion = island.ask(0.0)
    attempts = list(island.attempts(expansion))
    assert attempts[0][0] == expansion
    assert len({proposal.seed for proposal, _ in attempts}) == len(attempts) > 1
    assert [is_last for _, is_last in attempts] == [False] * (len(attempts) - 1) + [True]
