"""What operators and the driver talk to models through."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernelevolve.core.budget import Budget
from kernelevolve.core.record import content_id
from kernelevolve.core.usage import Usage
from kernelevolve.llm.actor import ModelActor
from kernelevolve.llm.connection import Connection, HungUpError
from kernelevolve.llm.errors import TransientError, UnknownRunError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Request
from kernelevolve.llm.meters import Tally
from kernelevolve.llm.once import Once
from kernelevolve.llm.server import ModelServer
from kernelevolve.llm.settings import LlmSettings
from kernelevolve.llm.wire import Address, Question
from kernelevolve.remote import answered, ask

_NAMESPACE = "kernelevolve"
_REVIVAL_SECONDS = 60.0
"""That an actor which died may take to be there again."""
_GLANCE_SECONDS = 0.1


class ModelClient:
    """Pickled to wherever models are asked. One actor serves all runs on a machine with the same settings, and is started again where
    it died: what it knew of a run is on disk.
    """

    def __init__(self, settings: LlmSettings, folder: Path, budget: Budget, node: str) -> None:
        """`folder`: the run's, absolute, for its recording: on the machine `node` (its id in Ray), where the actor runs."""
        self.weights = {model.name: model.weight for model in settings.models}
        self.choice = settings.choose
        self._settings = settings
        self._folder = folder
        self._budget = budget
        self._node = node
        self._actor: Any = None
        self._connection = self._line()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_actor": None, "_connection": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._connection = self._line()

    def _line(self) -> Once[Connection]:
        """Shared by all who ask from one event loop."""
        return Once(self._connected, lambda connection: not connection.broken)

    def check(self, glance: Callable[[], None] = lambda: None) -> None:
        """Make sure that the models can answer and that their prices are known. Raises UserError, before anything is spent or written.

        `glance` is called several times a second meanwhile, and may raise: loading a model takes minutes.
        """
        started = self._found().start.remote(self._budget)
        while not ray.wait([started], timeout=_GLANCE_SECONDS)[0]:
            glance()
        ask(started)

    def open(self) -> None:
        """Begin or go on with the run, whose folder is there."""
        ask(self._found().open.remote(self._folder, self._budget))

    def close(self) -> None:
        """The run asks no more."""
        ask(self._found().leave.remote(self._folder))

    async def ask(self, model: str, request: Request, purpose: str) -> Exchange:
        """`purpose`: the node that it is for. Cancelling it calls the request off at the endpoint. Raises ModelError."""
        question = Question(folder=self._folder, model=model, request=request, purpose=purpose)
        gone_since: float | None = None
        opened = True
        while True:
            try:
                if not opened:
                    actor = self._found()
                    await answered(actor.start.remote(self._budget), object)
                    await answered(actor.open.remote(self._folder, self._budget), object)
                    opened = True
                return await (await self._connection.get()).ask(question)
            except UnknownRunError:
                opened = False
            except (ActorDiedError, ActorUnavailableError, HungUpError) as error:
                now = time.monotonic()
                gone_since = gone_since or now
                if now - gone_since > _REVIVAL_SECONDS:
                    raise TransientError(f"the model actor is gone and does not come back: {error}") from error
                if not isinstance(error, HungUpError):
                    self._actor = None
                await asyncio.sleep(_GLANCE_SECONDS)  # Its name is free once Ray has noticed.

    async def _connected(self) -> Connection:
        connection = Connection(await answered(self._found().address.remote(), Address))
        await connection.open()
        return connection

    def tallies(self) -> Mapping[str, Tally]:
        """By model."""
        found: Mapping[str, Tally] = ask(self._found().tallies.remote())
        return found

    def _found(self) -> ActorHandle:
        """The actor that is there, or a new one."""
        if self._actor is None:
            here = NodeAffinitySchedulingStrategy(self._node, soft=False)
            self._actor = (
                ray.remote(_Served)
                .options(
                    name=f"models-{content_id(self._node, self._settings.model_dump_json())}",
                    namespace=_NAMESPACE,
                    get_if_exists=True,
                    num_cpus=0,
                    scheduling_strategy=here,
                )
                .remote(self._settings)
            )
        return self._actor


class _Served:
    """In a process of Ray's: the actor, with a door and gauges."""

    def __init__(self, settings: LlmSettings) -> None:
        from kernelevolve.llm.ray_gauges import RayGauges

        self._actor = ModelActor(settings, RayGauges())
        self._server = ModelServer(self._actor.answer)
        self._address = Once(self._listen)

    async def start(self, budget: Budget) -> None:
        await self._actor.start(budget)

    async def open(self, folder: Path, budget: Budget) -> Usage:
        return await self._actor.open(folder, budget)

    async def leave(self, folder: Path) -> None:
        await self._actor.leave(folder)

    async def tallies(self) -> Mapping[str, Tally]:
        return await self._actor.tallies()

    async def address(self) -> Address:
        """Where it listens."""
        return await self._address.get()

    async def _listen(self) -> Address:
        return await self._server.start(ray.util.get_node_ip_address())

    async def pid(self) -> int:
        """Of its process."""
        return os.getpid()
