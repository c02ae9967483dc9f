"""What operators and the driver talk to models through."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernelevolve.core.budget import Budget
from kernelevolve.core.record import content_id
from kernelevolve.llm.actor import ModelActor, UnknownRunError
from kernelevolve.llm.errors import ModelError, TransientError
from kernelevolve.llm.exchange import Exchange
from kernelevolve.llm.messages import Request
from kernelevolve.llm.meters import Tally
from kernelevolve.llm.settings import LlmSettings
from kernelevolve.remote import answered, ask

_NAMESPACE = "kernelevolve"
_CALLS = 10_000
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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_actor": None}

    def check(self) -> None:
        """Make sure that the models can answer and that their prices are known. Raises UserError, before anything is spent or written."""
        ask(self._found().start.remote(self._budget))

    def open(self) -> None:
        """Begin or go on with the run, whose folder is there."""
        ask(self._found().open.remote(self._folder, self._budget))

    def close(self) -> None:
        """The run asks no more."""
        ask(self._found().leave.remote(self._folder))

    async def ask(self, model: str, request: Request, purpose: str) -> Exchange:
        """`purpose`: the node that it is for. Cancelling it calls the request off at the endpoint. Raises ModelError."""
        gone_since: float | None = None
        opened = True
        while True:
            try:
                actor = self._found()
                if not opened:
                    await answered(actor.start.remote(self._budget), object)
                    await answered(actor.open.remote(self._folder, self._budget), object)
                return await self._asked(actor, model, request, purpose)
            except UnknownRunError:
                opened = False
            except (ActorDiedError, ActorUnavailableError) as error:
                now = time.monotonic()
                gone_since = gone_since or now
                if now - gone_since > _REVIVAL_SECONDS:
                    raise TransientError("the model actor died and does not come back") from error
                self._actor = None
                await asyncio.sleep(_GLANCE_SECONDS)  # Its name is free once Ray has noticed.

    async def _asked(self, actor: Any, model: str, request: Request, purpose: str) -> Exchange:
        reference = actor.ask.remote(self._folder, model, request, purpose)
        try:
            return await answered(reference, Exchange, ModelError, UnknownRunError)
        except asyncio.CancelledError:
            ray.cancel(reference)
            raise

    def tallies(self) -> Mapping[str, Tally]:
        """By model."""
        found: Mapping[str, Tally] = ask(self._found().tallies.remote())
        return found

    def _found(self) -> ActorHandle:
        """The actor that is there, or a new one."""
        if self._actor is None:
            here = NodeAffinitySchedulingStrategy(self._node, soft=False)
            self._actor = (
                ray.remote(_WithGauges)
                .options(
                    name=f"models-{content_id(self._node, self._settings.model_dump_json())}",
                    namespace=_NAMESPACE,
                    get_if_exists=True,
                    num_cpus=0,
                    max_concurrency=_CALLS,
                    scheduling_strategy=here,
                )
                .remote(self._settings)
            )
        return self._actor


class _WithGauges(ModelActor):
    def __init__(self, settings: LlmSettings) -> None:
        from kernelevolve.llm.ray_gauges import RayGauges

        super().__init__(settings, RayGauges())

    async def pid(self) -> int:
        """Of its process."""
        return os.getpid()
