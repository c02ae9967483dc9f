"""What the store says of a run's time, in this process: as a Ray actor it is the same class."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kernelevolve.core.budget import Budget
from kernelevolve.store import actor as module
from kernelevolve.store.actor import StoreActor
from kernelevolve.store.schema import GRAPH


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, to be set."""
    clock = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    return clock


async def _seconds(store: StoreActor) -> float:
    return (await store.snapshot()).spent.seconds


def test_time_begins_with_the_first_island(tmp_path: Path, now: list[float]) -> None:
    async def check() -> None:
        store = StoreActor(tmp_path, GRAPH, Budget(seconds=20), 3, 1.0)
        await store.open()
        now[0] += 90
        assert await _seconds(store) == 0.0
        await store.enlist(0)
        now[0] += 5
        await store.enlist(1)
        now[0] += 2
        assert await _seconds(store) == 7.0
        assert (await store.snapshot()).reason is None
        await store.close()

    asyncio.run(check())


def test_a_run_whose_islands_never_come_ends_all_the_same(tmp_path: Path, now: list[float]) -> None:
    async def check() -> None:
        store = StoreActor(tmp_path, GRAPH, Budget(seconds=20), 3, 1.0)
        await store.open()
        now[0] += 600
        assert (await store.snapshot()).reason == "20 s are over"
        await store.close()

    asyncio.run(check())
