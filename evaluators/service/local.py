"""Judging without Ray, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing

from devices.base import Device
from evaluators.service.cache import VerdictCache, cache_base
from evaluators.service.identity import identity_of
from evaluators.service.pipeline import Pipeline
from evaluators.settings import EvaluationSettings
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task


class LocalEvaluator:
    """The `Evaluator` with one pipeline, which judges one kernel at a time; `close` it."""

    def __init__(self, task: Task, device: Device, settings: EvaluationSettings, *, careful: bool = False) -> None:
        """`careful`: measure as finalists are measured, and the task's further inputs too."""
        self._pipeline = Pipeline(task, device, settings, careful=careful)
        self._turn = asyncio.Lock()

    async def evaluate(self, kernel: Kernel) -> Evaluation:
        async with self._turn:
            self._pipeline.runtime.resume()
            work = asyncio.create_task(asyncio.to_thread(self._pipeline.evaluate, kernel))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                self._pipeline.runtime.interrupt()
                await asyncio.wait([work])
                if not work.cancelled():
                    work.exception()  # Looked at, so that asyncio does not complain of it.
                raise

    def close(self) -> None:
        self._pipeline.close()


def evaluate_locally(
    task: Task,
    kernels: Iterable[Kernel],
    device: Device,
    settings: EvaluationSettings,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Evaluation]:
    """The verdicts on some kernels, each as soon as it is there, their variants timed; one fork server and reference for all. Earlier
    ones, where `settings.cache` says so and there are any. `notify`: is told beforehand where it will take long.

    Raises UserError where the task is at fault.
    """
    with ExitStack() as stack:
        cache = stack.enter_context(closing(VerdictCache(cache_base(), settings.cache_mb))) if settings.cache else None
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
