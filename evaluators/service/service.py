"""The evaluation service for islands: a scheduler, workers and compile tasks, behind a handle that can be sent to other processes."""

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
"""The most calls that the scheduler handles at a time. More wait in Ray's queue."""


@dataclass(frozen=True)
class EvaluationService:
    """The `Evaluator` of islands: a handle that can be sent to other processes."""

    scheduler: Any
    """The handle of the scheduler actor."""

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
        """Start the scheduler on the caller's machine, and workers, in the background.

        Args:
            task: The task.
            device: The device.
            settings: The settings of evaluation.
            recording: The file to which every evaluation is appended. Its folder must exist before the first evaluation.
            replayed: The recording of an earlier run, whose evaluations are returned again if `settings.cache` is on.

        Raises:
            UserError: There is no folder for the cache.
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
        """Prepare the service.

        Returns:
            A Ray reference that is ready when kernels can be evaluated. Its value is one line that says so if evaluating takes long, or
            an empty text. Getting it raises UserError if the task is at fault.
        """
        return self.scheduler.warm.remote()

    def facts(self) -> Any:
        """Return a Ray reference to the `WorkerFacts` of the machine that evaluates. Getting it raises as `warm` does."""
        return self.scheduler.facts.remote()

    def ceilings(self) -> Any:
        """Measure the rates that the first worker's device reaches. Return a Ray reference to the `Ceilings`, or to None."""
        return self.scheduler.ceilings.remote()

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        """Evaluate a kernel, see `Evaluator`. The kernel stays in this process's object store until the scheduler has room for it."""
        reference = self.scheduler.evaluate.remote(kernel.id, [ray.put(kernel)])
        try:
            found: Evaluation = await reference
        except asyncio.CancelledError:
            ray.cancel(reference)
            raise
        return found

    def compare(self, kernels: Sequence[Kernel], *, with_compile: bool) -> Any:
        """Make the final measurement of some kernels. Evaluations in progress are cancelled.

        Args:
            kernels: The kernels.
            with_compile: Whether torch.compile is timed too.

        Returns:
            A Ray reference to the `Comparison`. Getting it raises UserError if the task is at fault.
        """
        return self.scheduler.compare.remote(list(kernels), with_compile)

    def close(self) -> None:
        """End the workers and remove their folders."""
        try:
            ray.get(self.scheduler.close.remote(), timeout=20)
        except (RayActorError, TimeoutError):
            return
        finally:
            ray.kill(self.scheduler)
