"""Evaluation without Ray, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing

from devices.base import Device
from evaluators.service.cache import EvaluationCache, cache_base
from evaluators.service.identity import identity_of
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task


class LocalEvaluator:
    """An `Evaluator` with one pipeline, which evaluates one kernel at a time. Call `close` in the end."""

    def __init__(self, task: Task, device: Device, settings: EvaluationSettings, *, careful: bool = False) -> None:
        """Open the pipeline. If `careful`, kernels are measured as finalists are, and on the task's further inputs too."""
        self._pipeline = Pipeline(task, device, settings, careful=careful)
        self._turn = asyncio.Lock()

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        """Evaluate a kernel, see `Evaluator`."""
        async with self._turn:
            self._pipeline.runtime.resume()
            work = asyncio.create_task(asyncio.to_thread(self._pipeline.evaluate, kernel))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                self._pipeline.runtime.interrupt()
                await asyncio.wait([work])
                if not work.cancelled():
                    work.exception()  # asyncio logs exceptions that nobody retrieves.
                raise

    def close(self) -> None:
        """Close the pipeline."""
        self._pipeline.close()


def evaluate_locally(
    task: Task,
    kernels: Iterable[Kernel],
    device: Device,
    settings: EvaluationSettings,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Evaluation]:
    """Evaluate kernels carefully, with variants, in one pipeline.

    Args:
        task: The task.
        kernels: The kernels.
        device: The device.
        settings: The settings of evaluation. With `cache`, stored evaluations are used.
        notify: A function that is called with one line beforehand if evaluating will take long.

    Yields:
        The evaluation of each kernel, as soon as it is there.

    Raises:
        UserError: The task is at fault.
    """
    with ExitStack() as stack:
        cache = (
            stack.enter_context(closing(EvaluationCache(cache_base(), settings.cache_mb))) if settings.cache else None
        )
        identity = identity_of(task, device, device.target(), settings, careful=True) if cache else ""
        pipeline: Pipeline | None = None
        for kernel in kernels:
            known = cache.get(kernel.id, identity) if cache else None
            if known is None:
                if pipeline is None:
                    pipeline = stack.enter_context(closing(Pipeline(task, device, settings, careful=True)))
                    note = pipeline.announce()
                    if note:
                        notify(note)
                known = pipeline.evaluate(kernel)
                if cache:
                    cache.put(known, identity)
            yield known
