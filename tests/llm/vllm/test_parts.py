"""What stands between the settings and an engine, without one."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from kernelevolve import config
from kernelevolve.core.errors import UserError
from kernelevolve.llm.transport.wire import Address
from kernelevolve.llm.vllm.arguments import command_line
from kernelevolve.llm.vllm.backend import VllmBackend, _Endpoint, parallelism
from tests.endpoint import Answer, Endpoint
from tests.llm.conftest import asked


def test_arguments_are_said_as_the_command_line_has_them() -> None:
    settings = {
        "max_model_len": 4096,
        "gpu-memory-utilization": 0.5,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "quantization": None,
        "revision": "-1",
        "attention_config": {"backend": "FLASH_ATTN"},
        "middleware": ["a", "b"],
    }
    assert command_line(settings) == [
        "--max-model-len=4096",
        "--gpu-memory-utilization=0.5",
        "--enforce-eager",
        "--no-enable-prefix-caching",
        "--revision=-1",
        '--attention-config={"backend": "FLASH_ATTN"}',
        *("--middleware", "a", "b"),
    ]


def test_what_is_no_name_becomes_no_argument() -> None:
    with pytest.raises(ValueError, match="not an argument of vllm serve"):
        command_line({"model x": 1})


@given(tensor=st.integers(1, 8), stages=st.integers(1, 8))
def test_a_model_is_spread_over_all_gpus_it_is_given(tensor: int, stages: int) -> None:
    gpus = tensor * stages
    found = parallelism(gpus, {"pipeline_parallel_size": stages})
    assert gpus == 1 or found["tensor_parallel_size"] * stages == gpus


@pytest.mark.parametrize(
    ("gpus", "engine"),
    [(3, {"pipeline_parallel_size": 2}), (4, {"tensor_parallel_size": 2}), (4, {"pipeline_parallel_size": 0})],
)
def test_gpus_that_would_be_idle_are_refused(gpus: int, engine: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"gpus={gpus}: "):
        VllmBackend("m", gpus=gpus, engine=engine)


def test_the_shipped_settings_build_it() -> None:
    settings = config.load(["task=x", "operator=llm", "llm=vllm", "llm.models=[m]"]).llm
    assert settings is not None
    assert settings.backend.build("llm.backend", model="m").model == "m"
    with pytest.raises(UserError, match="gpus"):
        config.load(["task=x", "operator=llm", "llm=vllm", "llm.models=[m]", "llm.backend.gpus=some"])


PARENT = """
import subprocess, sys, time
from kernelevolve.llm.vllm.guard import guarded
guarded()
child = subprocess.Popen([sys.executable, "-c", "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"],
                         start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_what_a_process_started_ends_with_it_however_it_ends() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    while not child.children():
        time.sleep(0.05)
    family = [child, *child.children()]
    time.sleep(1.5)
    assert all(one.is_running() for one in family)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    gone, left = psutil.wait_procs(family, timeout=10)
    assert (len(gone), left) == (2, [])


@pytest.mark.usefixtures("ray_cluster")
def test_gpus_that_there_are_not_are_told_with_what_there_is() -> None:
    here = int(ray.cluster_resources().get("GPU", 0))
    backend = VllmBackend("m", gpus=here + 1, gpu_seconds=0.5)
    with pytest.raises(UserError, match=rf"{here + 1} GPUs .* not free within 0.5 s .* the cluster has {here} GPUs"):
        asyncio.run(backend.start())
    assert all(group["state"] == "REMOVED" for group in ray.util.placement_group_table().values())


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
@pytest.mark.usefixtures("ray_cluster")
def test_without_vllm_it_is_told_what_to_install() -> None:
    backend = VllmBackend("m", gpus=0)
    with pytest.raises(UserError, match=r"pip install 'kernelevolve\[vllm\]'"):
        asyncio.run(backend.start())
    assert all(group["state"] == "REMOVED" for group in ray.util.placement_group_table().values())


def test_prompts_for_an_engine_go_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address(url="", token="0123456789abcdef" * 2)

    async def ask(url: str) -> str:
        engine = _Endpoint("tiny", address.model_copy(update={"url": url}), 5.0)
        try:
            return (await engine.generate(asked())).message.text
        finally:
            await engine.close()

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Endpoint([Answer("from the engine")]) as endpoint:
        endpoint.key = address.token
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert asyncio.run(ask(endpoint.url)) == "from the engine"
