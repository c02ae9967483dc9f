"""The client of the model actor, for operators and the driver."""

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
from kernelevolve.llm.accounting.meters import Tally
from kernelevolve.llm.actor import ModelActor
from kernelevolve.llm.errors import TransientError, UnknownRunError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Request
from kernelevolve.llm.once import Once
from kernelevolve.llm.settings import LlmSettings
from kernelevolve.llm.transport.connection import Connection, ConnectionLostError
from kernelevolve.llm.transport.server import ModelServer
from kernelevolve.llm.transport.wire import Address, Question
from kernelevolve.remote import answered, ask

_NAMESPACE = "kernelevolve"
_REVIVAL_SECONDS = 60.0
"""The maximum seconds until an actor that died is available again."""
_GLANCE_SECONDS = 0.1
"""The seconds between two checks while waiting."""


class ModelClient:
    """Asks models through the model actor. It can be pickled.

    One actor serves all runs on a machine with the same settings. If it died, it is started again: its knowledge of
    a run is on disk.
    """

    def __init__(self, settings: LlmSettings, folder: Path, budget: Budget, node: str) -> None:
        """Create a client. The actor runs on the machine `node`.

        Args:
            settings: The settings of the models.
            folder: The absolute path of the run's folder on that machine, for the recording.
            budget: The limits of the run.
            node: The id of the machine in Ray.
        """
        self.weights = {model.name: model.weight for model in settings.models}
        self.choice = settings.choose
        self._settings = settings
        self._folder = folder
        self._budget = budget
        self._node = node
        self._actor: Any = None
        self._connection = self._shared_connection()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_actor": None, "_connection": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._connection = self._shared_connection()

    def _shared_connection(self) -> Once[Connection]:
        """Return the connection that all callers in one event loop share."""
        return Once(self._connected, lambda connection: not connection.broken)

    def check(self, glance: Callable[[], None] = lambda: None) -> None:
        """Check that the models can answer and that their prices are known, before anything is spent or written.

        Args:
            glance: A function that is called several times per second in the meantime, since loading a model takes
                minutes. It may raise to stop waiting.

        Raises:
            UserError: The check fails.
        """
        started = self._found().start.remote(self._budget)
        while not ray.wait([started], timeout=_GLANCE_SECONDS)[0]:
            glance()
        ask(started)

    def open(self) -> None:
        """Begin or resume the run, whose folder exists."""
        ask(self._found().open.remote(self._folder, self._budget))

    def close(self) -> None:
        """End the run."""
        ask(self._found().leave.remote(self._folder))

    async def ask(self, model: str, request: Request, purpose: str) -> Exchange:
        """Ask a model. Cancelling the call cancels the request at the endpoint.

        Args:
            model: The name of the model.
            request: The request.
            purpose: The id of the node that the request is for.

        Raises:
            ModelError: The model gave no answer.
        """
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
            except (ActorDiedError, ActorUnavailableError, ConnectionLostError) as error:
                now = time.monotonic()
                gone_since = gone_since or now
                if now - gone_since > _REVIVAL_SECONDS:
                    raise TransientError(f"the model actor died and could not be restarted: {error}") from error
                if not isinstance(error, ConnectionLostError):
                    self._actor = None
                await asyncio.sleep(_GLANCE_SECONDS)  # The actor's name is available once Ray has noticed its death.

    async def _connected(self) -> Connection:
        connection = Connection(await answered(self._found().address.remote(), Address))
        await connection.open()
        return connection

    def tallies(self) -> Mapping[str, Tally]:
        """Return the tally of each model."""
        found: Mapping[str, Tally] = ask(self._found().tallies.remote())
        return found

    def _found(self) -> ActorHandle:
        """Return the existing actor, or start one."""
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
    """The Ray actor: a model actor with a server and metrics."""

    def __init__(self, settings: LlmSettings) -> None:
        from kernelevolve.llm.accounting.ray_gauges import RayGauges

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
        """Return the address of the server."""
        return await self._address.get()

    async def _listen(self) -> Address:
        return await self._server.start(ray.util.get_node_ip_address())

    async def pid(self) -> int:
        """Return the id of the process."""
        return os.getpid()
