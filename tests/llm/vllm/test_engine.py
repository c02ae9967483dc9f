"""A real engine, with random weights: on the GPUs of this machine, or on its cores where vLLM was built for them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

pytest.importorskip("vllm", reason="vLLM is not installed")

from kernelevolve.core.errors import UserError
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.errors import RefusedError, TooLongError, TransientError
from kernelevolve.llm.messages import Completion, Finish, Message, Request, Role, Sampling, Tool
from kernelevolve.llm.vllm.backend import VllmBackend
from scripts.tiny_model import make
from tests.conformance.model_backend import ModelBackendConformance

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CONTEXT = 4096
HEAD = Message(role=Role.SYSTEM, text="You write kernels, as fast as they can be. " * 100)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("model")
    make(folder, 256, 2, CONTEXT)
    return str(folder)


@pytest.fixture(scope="module")
def cluster(ray_cluster: None) -> int:
    """GPUs of the machine that are used."""
    del ray_cluster
    return int(min(1, ray.cluster_resources().get("GPU", 0)))


def engine(model: str, gpus: int, **changes: Any) -> VllmBackend:
    settings: dict[str, Any] = {
        "max_model_len": CONTEXT,
        "enforce_eager": True,
        "enable_prefix_caching": True,
        "enable_prompt_tokens_details": True,
        "gpu_memory_utilization": 0.3,
    }
    if gpus:
        settings["attention_config"] = {"backend": "FLASH_ATTN"}
    return VllmBackend(model, gpus=gpus, timeout=120.0, engine={**settings, **changes})


def request(number: int = 0, most: int = 16) -> Request:
    asked = Message(role=Role.USER, text=f"Kernel {number}, please.")
    return Request(messages=(HEAD, asked), sampling=Sampling(max_tokens=most, seed=number))


def engines() -> list[psutil.Process]:
    """Processes that hold a model."""
    return [one for one in psutil.Process().children(recursive=True) if "VLLM::" in _named(one)]


def _named(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # Or a zombie.
        return ""


class TestConformance(ModelBackendConformance):
    @pytest.fixture(autouse=True)
    def _made(self, model: str, cluster: int) -> None:
        self._engine = (model, cluster)

    def backend(self) -> ModelBackend:
        return engine(*self._engine)

    def failing(self) -> ModelBackend:
        return engine(*self._engine, max_model_len=64)

    def request(self) -> Request:
        return request(most=100)


def test_an_engine_batches_caches_calls_off_and_is_started_again_where_it_dies(model: str, cluster: int) -> None:
    async def use() -> None:
        backend = engine(model, cluster)
        try:
            await answers_many(backend)
            await refuses(backend)
            await calls_off(backend)
            await comes_back(backend)
        finally:
            await backend.close()

    asyncio.run(use())
    gone, left = psutil.wait_procs(engines(), timeout=30)
    del gone
    assert left == []
    assert all(group["state"] == "REMOVED" for group in ray.util.placement_group_table().values())


async def answers_many(backend: VllmBackend) -> None:
    first = await backend.generate(request())
    found = await asyncio.gather(*(backend.generate(request(number)) for number in range(32)))
    assert all(isinstance(one, Completion) and one.finish is Finish.LENGTH for one in found)
    assert all(one.tokens.written == 16 and not one.tokens.estimated for one in found)
    assert all(one.tokens.cached > 0.8 * one.tokens.read for one in found)
    assert first.tokens.read > 500
    assert len({one.message.text for one in found}) > 16
    assert found[0].message.text == first.message.text


async def refuses(backend: VllmBackend) -> None:
    long = Message(role=Role.USER, text="more than fits " * CONTEXT)
    with pytest.raises(TooLongError) as raised:
        await backend.generate(Request(messages=(long,), sampling=Sampling(max_tokens=16)))
    assert raised.value.context == CONTEXT
    tool = Tool(name="read", description="Reads.", parameters={"type": "object", "properties": {}})
    with pytest.raises(RefusedError, match="enable-auto-tool-choice"):
        await backend.generate(request().model_copy(update={"tools": (tool,)}))


async def calls_off(backend: VllmBackend) -> None:
    """A request that nobody waits for leaves its place in the batch: as many as there are places go through at once."""
    begin = time.monotonic()
    whole = await backend.generate(request(1, CONTEXT // 2))
    seconds = time.monotonic() - begin
    assert whole.tokens.written == CONTEXT // 2
    begun = [asyncio.create_task(backend.generate(request(number, CONTEXT // 2))) for number in range(8)]
    await asyncio.sleep(0.1 * seconds)
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
    begin = time.monotonic()
    await backend.generate(request(2, 16))
    assert time.monotonic() - begin < 0.5 * seconds


async def comes_back(backend: VllmBackend) -> None:
    before = {one.pid for one in engines()}
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 300
    while True:
        try:
            again = await backend.generate(request())
            break
        except TransientError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
    assert again.finish is Finish.LENGTH
    assert before.isdisjoint(one.pid for one in engines())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_modle_len": 64}, "max-modle-len"),
        ({"max_model_len": "many"}, "many"),
        ({"tool_call_parser": "none_such", "enable_auto_tool_choice": True}, "none_such"),
    ],
)
def test_arguments_that_will_not_do_are_told(model: str, cluster: int, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asyncio.run(engine(model, cluster, **changes).start())


def test_a_model_that_there_is_not_is_told(cluster: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"vLLM cannot serve {tmp_path}") as raised:
        asyncio.run(engine(str(tmp_path), cluster).start())
    assert "\n" not in str(raised.value)
