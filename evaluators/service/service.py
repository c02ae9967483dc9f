"""Evaluation for islands: a hub, judges and compile workers, behind a handle that travels between processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from devices.base import Device
from evaluators.service.cache import cache_base
from evaluators.service.scheduler import EvaluationScheduler
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

_CALLS = 1000
"""That the hub looks at together; more wait in Ray's queue."""


@dataclass(frozen=True)
class EvaluationService:
    """The `Evaluator` that islands hold: a handle, which travels between processes."""

    scheduler: Any

    @classmethod
    def start(
        cls,
        task: Task,
        device: Device,
        settings: EvaluationSettings,
        *,
        recording: Path | None = None,
        replayed: Path | None = None,
    ) -> EvaluationService:
        """Start the hub, on the caller's machine, and judges; returns at once, they come up beside.

        `recording`: the file that takes every verdict, whose folder is made before the first kernel is judged; `replayed`: that of an
        earlier run, whose verdicts are given again where earlier verdicts count.

        Raises UserError where there is no place for the cache.
        """
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        scheduler = ray.remote(EvaluationScheduler).options(
            num_cpus=0, max_concurrency=_CALLS, scheduling_strategy=here
        )
        base = str(cache_base()) if settings.cache else None
        files = [recording, replayed if settings.cache else None]
        names = [None if file is None else str(file.absolute()) for file in files]
        return cls(scheduler.remote(task, device, settings, base, *names))

    def warm(self) -> Any:
        """A reference that is ready when kernels can be judged, to a line about a task that is slow to judge, or nothing.

        Getting it raises UserError where the task is at fault.
        """
        return self.scheduler.warm.remote()

    def facts(self) -> Any:
        """A reference to the `WorkerFacts` of the machine that evaluates: its target, and what compiles for it.

        Getting it raises as `warm` does.
        """
        return self.scheduler.facts.remote()

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        """As the seam says. The kernel itself stays here until the hub has room for it."""
        answer = self.scheduler.evaluate.remote(kernel.id, [ray.put(kernel)])
        try:
            found: Evaluation = await answer
        except asyncio.CancelledError:
            ray.cancel(answer)
            raise
        return found

    def compare(self, kernels: Sequence[Kernel], *, with_compile: bool) -> Any:
        """A reference to the last measurement: a `Comparison` of these kernels. What is under way is called off.

        Getting it raises UserError where the task is at fault.
        """
        return self.scheduler.compare.remote(list(kernels), with_compile)

    def close(self) -> None:
        """End the judges and remove their folders."""
        try:
            ray.get(self.scheduler.close.remote(), timeout=20)
        except (RayActorError, TimeoutError):
            return
        finally:
            ray.kill(self.scheduler)
