"""Evaluation for islands: judges as Ray actors, behind one hub that spreads the work."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError

from devices.registry import get_device
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

if TYPE_CHECKING:
    from evaluators.pipeline import Pipeline


class Judge:
    """One pipeline with its fork server, in a process of its own."""

    def __init__(self, task_json: str, device: str, settings_json: str) -> None:
        from evaluators.pipeline import Pipeline  # With torch, which the hub does without.

        task = Task.model_validate_json(task_json)
        settings = EvaluationSettings.model_validate_json(settings_json)
        # What a constructor raises arrives as the death of the actor: the first call raises it instead.
        self._pipeline: Pipeline | UserError
        try:
            self._pipeline = Pipeline(task, get_device(device), settings)
            self._pipeline.server.start()
        except UserError as error:
            self._pipeline = error

    def warm(self) -> str:
        """What there is to say of a task that is slow to judge."""
        pipeline = self._ready()
        pipeline.warm()
        return pipeline.note

    def evaluate(self, kernel_json: str, floor: float | None) -> str:
        kernel = Kernel.model_validate_json(kernel_json)
        return self._ready().evaluate(kernel, floor).model_dump_json()

    def close(self) -> None:
        if not isinstance(self._pipeline, UserError):
            self._pipeline.close()

    def _ready(self) -> Pipeline:
        if isinstance(self._pipeline, UserError):
            raise self._pipeline
        return self._pipeline


class Hub:
    """Hands kernels to judges: one at a time each, a kernel that is being judged already is not judged twice, a judge that dies
    is replaced and its kernel judged elsewhere."""

    def __init__(self, task_json: str, device: str, settings_json: str) -> None:
        self._arguments = (task_json, device, settings_json)
        self._settings = EvaluationSettings.model_validate_json(settings_json)
        self._idle: asyncio.Queue[Any] = asyncio.Queue()
        self._judges: list[Any] = []
        self._under_way: dict[str, asyncio.Task[str]] = {}
        self._waiting: Counter[str] = Counter()
        self._best = 0.0
        for _ in range(self._settings.workers):
            self._add()

    def _add(self) -> None:
        judge = ray.remote(Judge).options(num_cpus=0, max_restarts=0).remote(*self._arguments)
        self._judges.append(judge)
        self._idle.put_nowait(judge)

    async def warm(self) -> str:
        first, *others = self._judges
        note = str(await first.warm.remote())
        await asyncio.gather(*(j.warm.remote() for j in others))
        return note

    async def evaluate(self, kernel_id: str, kernel_json: str) -> str:
        task = self._under_way.get(kernel_id)
        if task is None or task.cancelling():
            task = asyncio.get_running_loop().create_task(self._judge(kernel_json))
            self._under_way[kernel_id] = task
            task.add_done_callback(lambda done: self._forget(kernel_id, done))
        self._waiting[kernel_id] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[kernel_id] -= 1
            if not self._waiting[kernel_id]:
                del self._waiting[kernel_id]
                task.cancel()  # Nobody wants it any more; where it is done this does nothing.

    def _forget(self, kernel_id: str, task: asyncio.Task[str]) -> None:
        if self._under_way.get(kernel_id) is task:
            del self._under_way[kernel_id]

    async def _judge(self, kernel_json: str) -> str:
        attempt = 0
        while True:
            judge = await self._idle.get()
            alive = True
            try:
                floor = self._settings.drop_below * self._best or None
                told = str(await judge.evaluate.remote(kernel_json, floor))
            except RayActorError:
                alive = False
                attempt += 1
                self._judges.remove(judge)
                self._add()
                if attempt > self._settings.retries:
                    raise
                continue
            finally:
                if alive:
                    self._idle.put_nowait(judge)
            evaluation = Evaluation.model_validate_json(told)
            self._best = max(self._best, evaluation.fitness)
            return told

    async def close(self) -> None:
        for judge in self._judges:
            try:
                await asyncio.wait_for(judge.close.remote(), 10)
            except (RayActorError, TimeoutError):
                continue
            finally:
                ray.kill(judge)


@dataclass(frozen=True)
class EvaluationService:
    """The `Evaluator` that islands hold: a handle, which travels between processes."""

    hub: Any

    @classmethod
    def start(cls, task: Task, device: str, settings: EvaluationSettings) -> EvaluationService:
        """Start hub and judges; returns at once, they come up beside."""
        hub = ray.remote(Hub).options(num_cpus=0, max_concurrency=1000)
        return cls(hub.remote(task.model_dump_json(), device, settings.model_dump_json()))

    def warm(self) -> Any:
        """A reference that is ready when kernels can be judged, to a line about a task that is slow to judge, or nothing.

        Getting it raises UserError where the task is at fault.
        """
        return self.hub.warm.remote()

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        answer = self.hub.evaluate.remote(kernel.id, kernel.model_dump_json())
        try:
            told = await answer
        except asyncio.CancelledError:
            ray.cancel(answer)
            raise
        return Evaluation.model_validate_json(told)

    def close(self) -> None:
        """End the judges and remove their folders."""
        try:
            ray.get(self.hub.close.remote(), timeout=20)
        except (RayActorError, TimeoutError):
            return
        finally:
            ray.kill(self.hub)
