"""The actor that islands share, in a real Ray, before a real endpoint."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import ray

from kernelevolve.core.budget import Budget
from kernelevolve.core.errors import UserError
from kernelevolve.core.usage import Usage
from kernelevolve.llm.client import ModelClient
from kernelevolve.llm.errors import BudgetExceededError, RefusedError
from kernelevolve.llm.recording import FILE, Recording
from tests.endpoint import Answer, Behaviour, Endpoint, Fault
from tests.keys import KEY, VARIABLE
from tests.llm.conftest import asked, llm_settings

PRICES = {"ti*": {"read": 1.0, "written": 10.0}}


def client(endpoint: Endpoint, folder: Path, budget: Budget | None = None, **changes: Any) -> ModelClient:
    node = ray.get_runtime_context().get_node_id()
    made = ModelClient(llm_settings(endpoint, **{"prices": PRICES, **changes}), folder, budget or Budget(), node)
    made.check()
    made.open()
    return made


@pytest.mark.usefixtures("ray_cluster")
def test_an_island_asks_and_everything_is_on_record(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    def island(held: ModelClient) -> Any:
        return asyncio.run(held.ask("tiny", asked("from an island"), "run.3.1"))

    with Endpoint([Answer("a kernel")]) as endpoint:
        held = client(endpoint, tmp_path)
        exchange = ray.get(island.remote(held))
        assert exchange.completion.message.text == "a kernel"
        assert exchange.cost == 60e-6
        assert held.tallies()["tiny"].answers == 1
    recording = Recording(tmp_path / FILE, write=False)
    assert recording.exchange(exchange.number)[:2] == ("tiny", asked("from an island"))
    assert recording.spent("run.3.") == Usage(tokens=15, cost=60e-6)
    assert KEY.encode() not in (tmp_path / FILE).read_bytes()


@pytest.mark.usefixtures("ray_cluster")
def test_runs_share_the_actor_and_have_accounts_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    async def run(first: ModelClient, second: ModelClient) -> None:
        await first.ask("tiny", asked(), "")
        with pytest.raises(BudgetExceededError):
            await first.ask("tiny", asked(), "")
        await second.ask("tiny", asked(), "")

    with Endpoint([Answer()]) as endpoint:
        first, second = (
            client(endpoint, tmp_path, Budget(tokens=120)),
            client(endpoint, tmp_path / "other"),
        )
        asyncio.run(run(first, second))
        assert first.tallies()["tiny"].answers == 2
        first.close()
    for folder in (tmp_path, tmp_path / "other"):
        assert Recording(folder / FILE, write=False).count() == 1


@pytest.mark.usefixtures("ray_cluster")
def test_what_is_answered_after_a_run_has_left_is_on_record(tmp_path: Path) -> None:
    async def run(held: ModelClient, endpoint: Endpoint) -> None:
        late = asyncio.create_task(held.ask("tiny", asked(), ""))
        while endpoint.in_flight == 0:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(held.close)
        await late

    with Endpoint([Answer(wait=0.5)]) as endpoint:
        held = client(endpoint, tmp_path)
        asyncio.run(run(held, endpoint))
    assert Recording(tmp_path / FILE, write=False).count() == 1


@pytest.mark.usefixtures("ray_cluster")
def test_an_actor_that_is_killed_is_started_again_and_knows_what_was_spent(tmp_path: Path) -> None:
    def behave(body: Mapping[str, Any], number: int) -> Behaviour:
        del body
        return Answer(wait=60.0) if number == 1 else Answer()

    async def run(held: ModelClient, endpoint: Endpoint) -> None:
        await held.ask("tiny", asked("first"), "")
        waiting = asyncio.create_task(held.ask("tiny", asked("second"), ""))
        while endpoint.in_flight == 0:
            await asyncio.sleep(0.01)
        pid = await held._found().pid.remote()
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(waiting, 60)
        with pytest.raises(BudgetExceededError, match="30 tokens"):
            await held.ask("tiny", asked("third"), "")

    with Endpoint(behave) as endpoint:
        held = client(endpoint, tmp_path, Budget(tokens=130))
        asyncio.run(run(held, endpoint))
        assert len(endpoint.requests) == 3


@pytest.mark.usefixtures("ray_cluster")
def test_what_an_island_calls_off_ends_at_the_endpoint(tmp_path: Path) -> None:
    async def run(held: ModelClient, endpoint: Endpoint) -> None:
        task = asyncio.create_task(held.ask("tiny", asked(), ""))
        while endpoint.in_flight == 0:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        deadline = time.monotonic() + 20
        while endpoint.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert (endpoint.called_off, endpoint.in_flight) == (1, 0)
        assert held.tallies()["tiny"].in_flight == 0

    with Endpoint([Answer(wait=60.0)]) as endpoint:
        held = client(endpoint, tmp_path)
        asyncio.run(run(held, endpoint))


@pytest.mark.usefixtures("ray_cluster")
def test_a_start_that_takes_long_can_be_interrupted(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        node = ray.get_runtime_context().get_node_id()
        held = ModelClient(llm_settings(None, backend={"base_url": url}), tmp_path, Budget(), node)
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            held.check(interrupt)
        assert time.monotonic() - begin < 8.0


@pytest.mark.usefixtures("ray_cluster")
def test_mistakes_are_told_before_anything_is_spent(tmp_path: Path) -> None:
    with Endpoint([Fault(401)]) as endpoint:
        with pytest.raises(UserError, match="has no model large"):
            client(endpoint, tmp_path, models=["large"])
        with pytest.raises(UserError, match="tiny has no price; give one"):
            client(endpoint, tmp_path, Budget(cost=1.0), prices={})
        with pytest.raises(UserError, match="set NO_SUCH_VARIABLE"):
            client(endpoint, tmp_path, backend={"key": "NO_SUCH_VARIABLE"})
        assert not endpoint.requests
        held = client(endpoint, tmp_path)
        with pytest.raises(RefusedError, match=f"the key in \\${VARIABLE} is not accepted"):
            asyncio.run(held.ask("tiny", asked(), ""))
