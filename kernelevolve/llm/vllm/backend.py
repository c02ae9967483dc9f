"""A model that runs on GPUs of the Ray cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from kernelevolve.core.errors import UserError
from kernelevolve.llm.base import ModelBackend
from kernelevolve.llm.errors import TransientError
from kernelevolve.llm.messages import Completion, Request
from kernelevolve.llm.once import Once
from kernelevolve.llm.openai.backend import OpenAIBackend
from kernelevolve.llm.transport.wire import Address
from kernelevolve.llm.vllm.arguments import command_line
from kernelevolve.llm.vllm.engine import Engine
from kernelevolve.llm.vllm.placement import reserve
from kernelevolve.remote import answered

_ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1"}
_END_SECONDS = 20.0


class VllmBackend(ModelBackend):
    """Starts a vLLM engine in a placement group, and again if it died. It is asked like any endpoint."""

    def __init__(
        self,
        model: str,
        gpus: int = 1,
        accelerator: str | None = None,
        gpu_seconds: float = 60.0,
        start_seconds: float = 1800.0,
        timeout: float = 600.0,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        """Create a backend.

        Args:
            model: The model, as `vllm serve` takes it.
            gpus: The number of GPUs for one copy of the model; 0 for vLLM's CPU build.
            accelerator: The type of the GPUs, as Ray names it.
            gpu_seconds: The maximum seconds to wait for free GPUs.
            start_seconds: The maximum seconds for loading the model.
            timeout: The maximum seconds of one attempt.
            engine: Arguments of `vllm serve`.

        Raises:
            ValueError: The number of GPUs is illegal.
        """
        if gpus < 0:
            raise ValueError(f"gpus={gpus}: must be at least 0")
        self._model = model
        self._gpus = gpus
        self._accelerator = accelerator
        self._gpu_seconds = gpu_seconds
        self._start_seconds = start_seconds
        self._timeout = timeout
        self._arguments = command_line(
            {**parallelism(gpus, engine or {}), **(engine or {}), "served_model_name": model}
        )
        self._running = Once(self._started, lambda running: not running.ended)

    @property
    def model(self) -> str:
        return self._model

    async def start(self) -> None:
        await self._running.get()

    async def generate(self, request: Request) -> Completion:
        running = await self._running.get()
        try:
            return await running.endpoint.generate(request)
        except TransientError:
            await self._end_if_dead(running)
            raise

    async def close(self) -> None:
        running = await self._running.end()
        if running is not None:
            await running.end()

    async def _end_if_dead(self, running: _Running) -> None:
        try:
            await answered(running.actor.alive.remote(), bool)
        except RayActorError:
            await running.end()

    async def _started(self) -> _Running:
        group = await reserve(self._gpus, self._accelerator, self._gpu_seconds)
        actor = (
            ray.remote(Engine)
            .options(
                num_cpus=0,
                num_gpus=1 if self._gpus == 1 else 0,  # With several GPUs, each worker of the engine takes one.
                runtime_env={"env_vars": _ENVIRONMENT},
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group=group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
                ),
            )
            .remote()
        )
        try:
            async with asyncio.timeout(self._start_seconds):
                address = await answered(actor.start.remote(self._model, self._arguments), Address)
            running = _Running(_Endpoint(self._model, address, self._timeout), actor, group)
            await running.endpoint.start()
        except BaseException as error:
            await _ended(actor, group)
            if isinstance(error, TimeoutError):
                raise UserError(
                    f"{self._model} was not loaded within {self._start_seconds:g} s (llm.backend.start_seconds)"
                ) from error
            if isinstance(error, RayActorError):
                raise UserError(f"vLLM died while it loaded {self._model}: {_line(error)}") from error
            raise
        return running


def parallelism(gpus: int, engine: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments that distribute a model over several GPUs, as far as `engine` does not set them.

    Raises:
        ValueError: The settings do not fit the number of GPUs.
    """
    if gpus <= 1:
        return {}
    stages = int(engine.get("pipeline_parallel_size", 1))
    if stages < 1 or gpus % stages:
        raise ValueError(f"gpus={gpus}: cannot be divided into engine.pipeline_parallel_size={stages} stages")
    tensor = int(engine.get("tensor_parallel_size", gpus // stages))
    if tensor * stages != gpus:
        raise ValueError(
            f"gpus={gpus}: but engine.tensor_parallel_size={tensor} times {stages} stages is {tensor * stages}"
        )
    return {"tensor_parallel_size": tensor, "distributed_executor_backend": "ray"}


class _Endpoint(OpenAIBackend):
    """The endpoint of an engine."""

    def __init__(self, model: str, address: Address, timeout: float) -> None:
        super().__init__(model, address.url, None, timeout=timeout)
        self._address = address

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._address.token}"}

    def proxy(self) -> None:
        """Return None: the endpoint is inside of the cluster, and prompts must not leave it."""


class _Running:
    """A running engine."""

    def __init__(self, endpoint: _Endpoint, actor: Any, group: PlacementGroup) -> None:
        self.endpoint = endpoint
        self.actor = actor
        self.ended = False
        self._group = group

    async def end(self) -> None:
        """Stop the engine. Further calls have no effect."""
        if self.ended:
            return
        self.ended = True
        await self.endpoint.close()
        await _ended(self.actor, self._group)


async def _ended(actor: Any, group: PlacementGroup) -> None:
    """Stop the engine and release its GPUs, whatever state it is in."""
    try:
        async with asyncio.timeout(_END_SECONDS):
            await actor.stop.remote()
    except (RayActorError, TimeoutError):
        pass
    ray.kill(actor)
    remove_placement_group(group)


def _line(error: RayActorError) -> str:
    return str(error).strip().splitlines()[0]
