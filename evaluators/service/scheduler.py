"""The actor between islands and workers: it looks kernels up in the cache, has them compiled by tasks, then evaluated by workers."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from devices.base import Device, ray_resources
from evaluators.folders import OwnedFolder
from evaluators.scratch import disk_errors
from evaluators.service.cache import EvaluationCache
from evaluators.service.comparison import Comparison
from evaluators.service.compiling import Compiled, OtherTarget, Rejected, compile_task
from evaluators.service.recording import EvaluationRecording, Replayed
from evaluators.service.worker import THREADS, EvaluationReply, EvaluationRequest, EvaluationWorker, WorkerFacts
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import InfrastructureError, UserError
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Ceilings, Target
from kernelevolve.core.task import Task
from kernelevolve.remote import death_message, spread, stand_by

_CLOSE_SECONDS = 8.0
"""The seconds that a worker gets to close before it is killed."""


@dataclass(order=True)
class _Job:
    """A compiled kernel to be evaluated. Jobs are ordered by their numbers."""

    number: int
    request: EvaluationRequest = field(compare=False)
    reply: asyncio.Future[EvaluationReply] = field(compare=False)
    attempts: int = field(default=0, compare=False)
    """The number of workers that died while they evaluated it."""
    worker: Any = field(default=None, compare=False)
    """The worker that has it, or None."""


class EvaluationScheduler:
    """Schedules evaluations. A kernel in progress is not evaluated twice, and one that nobody waits for any more is cancelled."""

    def __init__(
        self,
        task: Task,
        device: Device,
        settings: EvaluationSettings,
        cache_base: str | None,
        recording: str | None = None,
        replayed: str | None = None,
    ) -> None:
        """Create the scheduler and start the first worker.

        Args:
            task, device, settings: What is evaluated, and how.
            cache_base: The folder of the cache of evaluations, or None to use no cache.
            recording: The file to which every evaluation is appended. Its folder must exist when the first kernel comes.
            replayed: The recording of an earlier run, whose evaluations are returned again.
        """
        stand_by()
        self._task, self._device, self._settings = task, device, settings
        self._cache_base = cache_base
        self._cache: EvaluationCache | None = None
        self._files = recording, replayed
        self._recording: EvaluationRecording | None = None
        self._replayed: Replayed | None = None
        self._disk = ThreadPoolExecutor(1)
        self._own_builds: OwnedFolder | None = None
        self._servers: list[asyncio.Task[None]] = []
        self._facts: WorkerFacts | None = None
        self._under_way: dict[str, asyncio.Task[Evaluation]] = {}
        self._waiting: Counter[str] = Counter()
        self._room = asyncio.Semaphore(settings.queue)
        self._compilers = asyncio.Semaphore(settings.compile_workers)
        self._ready: asyncio.PriorityQueue[_Job] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._anywhere = ray.remote(compile_task).options(num_cpus=1, max_retries=settings.retries)
        self._compile = self._anywhere
        self._best = 0.0
        self._workers: list[Any] = [self._start_worker(0)]

    def _start_worker(self, place: int) -> Any:
        # Only one worker measures at a time on a processor, so workers are spread over the machines. Ray itself counts accelerators.
        options = self._device.resources()
        where = spread(place) if self._settings.workers > 1 and not ray_resources(options) else "DEFAULT"
        worker = ray.remote(EvaluationWorker).options(
            **options, max_restarts=0, max_concurrency=THREADS, scheduling_strategy=where
        )
        return worker.remote(self._task, self._device, self._settings)

    def _replace(self, place: int, dead: Any) -> None:
        """Start another worker in place of a dead one. Its machine may be gone too, so its facts are forgotten."""
        if self._workers[place] is dead:
            self._workers[place] = self._start_worker(place)
            self._facts, self._compile = None, self._anywhere

    async def warm(self) -> str:
        """Prepare everything that the first evaluations need.

        Returns:
            One line that says so if evaluating takes long, or an empty text.

        Raises:
            UserError: The task is at fault, there is no room for builds or the cache, or workers die each time.
        """
        self._make_room()
        await self._opened_cache()
        note, *_ = await asyncio.gather(
            self._warm_worker(), *(self._warm_compiler() for _ in range(self._settings.compile_workers))
        )
        self._start()
        return str(note)

    async def _warm_worker(self) -> str:
        """Prepare the first worker. If it dies, another one is started and prepared, up to `retries` times."""
        left = self._settings.retries
        while True:
            worker = self._workers[0]
            try:
                return str(await worker.warm.remote())
            except RayActorError as error:
                self._replace(0, worker)
                if not left:
                    raise UserError(
                        death_message("the process that evaluates", "while it gets ready", error)
                    ) from error
                left -= 1

    @property
    def _builds(self) -> str:
        """The folder in which compile tasks work; empty before it is created."""
        return str(self._own_builds.path) if self._own_builds else ""

    async def _warm_compiler(self) -> None:
        """Run an empty compile task, so that Ray starts a process that it will reuse."""
        nothing = Kernel(source="", language="python")
        nowhere = Target(device=self._device.name, vendor="", arch="")
        timeout = self._settings.compile_timeout
        try:
            await self._compile.remote(nothing, self._device, nowhere, Signature(), timeout, {}, self._builds)
        except RayTaskError:
            raise
        except RayError as error:
            raise UserError(death_message("the process that compiles", "while it gets ready", error)) from error

    def _make_room(self) -> None:
        if self._own_builds is None:
            with disk_errors(Path(tempfile.gettempdir()), "what is compiled"):
                self._own_builds = OwnedFolder(Path(tempfile.gettempdir()), "kernelevolve-build")

    def _start(self) -> None:
        self._make_room()
        if not self._servers:
            self._servers = [asyncio.create_task(self._serve(0))]
            # They start after the first worker is ready, since starting them takes processor time from it.
            while len(self._workers) < self._settings.workers:
                self._workers.append(self._start_worker(len(self._workers)))
                self._servers.append(asyncio.create_task(self._serve_when_ready(len(self._workers) - 1)))

    async def facts(self) -> WorkerFacts:
        """Return the facts of the first worker. All workers are on machines of one kind. Raises as `warm` does."""
        return await self._first_facts()

    async def ceilings(self) -> Ceilings | None:
        """Measure the rates that the first worker's device reaches."""
        try:
            found: Ceilings | None = await self._workers[0].ceilings.remote()
        except RayActorError as error:
            return Ceilings(
                model=self._device.name, note=death_message("the process that evaluates", "meanwhile", error)
            )
        return found

    async def evaluate(self, kernel_id: str, held: Sequence[Any]) -> Evaluation:
        """Evaluate a kernel. `held` contains one Ray reference to the kernel, which is fetched when there is room for it."""
        self._start()
        task = self._under_way.get(kernel_id)
        if task is None or task.cancelling():
            task = asyncio.create_task(self._evaluation_of(kernel_id, held[0]))
            self._under_way[kernel_id] = task
            task.add_done_callback(lambda done: self._forget(kernel_id, done))
        self._waiting[kernel_id] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[kernel_id] -= 1
            if not self._waiting[kernel_id]:
                del self._waiting[kernel_id]
                task.cancel()  # Nobody waits for it any more. If it is done this does nothing.

    def _forget(self, kernel_id: str, task: asyncio.Task[Evaluation]) -> None:
        if self._under_way.get(kernel_id) is task:
            del self._under_way[kernel_id]

    async def _evaluation_of(self, kernel_id: str, held: Any) -> Evaluation:
        async with self._room:
            facts = await self._first_facts()
            evaluation, identity = await self._known(kernel_id, facts), facts.identity
            if evaluation is None:
                evaluation, identity = await self._compile_and_evaluate(await held, facts)
                cache = await self._opened_cache()
                if cache is not None:
                    await self._on_disk(cache.put, evaluation, identity)
            self._best = max(self._best, evaluation.measured_fitness)
            if self._recording is not None:
                await self._on_disk(self._recording.put, evaluation, identity)
            return evaluation

    async def _known(self, kernel_id: str, facts: WorkerFacts) -> Evaluation | None:
        """Return the evaluation of an earlier run: from the run that is replayed, or else from the cache."""
        cache = await self._opened_cache()
        await self._on_disk(self._open_recordings)
        known: Evaluation | None = None
        if self._replayed is not None:
            known = await self._on_disk(self._replayed.next, kernel_id, facts.identity)
        if known is None and cache is not None:
            known = await self._on_disk(cache.get, kernel_id, facts.identity)
        return known

    async def _compile_and_evaluate(self, kernel: Kernel, facts: WorkerFacts) -> tuple[Evaluation, str]:
        """Return the evaluation and its identity."""
        made = await self._compiled(kernel, facts)
        if isinstance(made, Rejected):
            return self._rejected(kernel, made, facts), facts.identity
        reply = await self._evaluated(kernel, made)
        return reply.evaluation, reply.identity

    def _open_recordings(self) -> None:
        recording, replayed = self._files
        if recording is not None and self._recording is None:
            self._recording = EvaluationRecording(Path(recording))
        if replayed is not None and self._replayed is None and Path(replayed).is_file():
            self._replayed = Replayed(EvaluationRecording(Path(replayed)))

    async def _first_facts(self) -> WorkerFacts:
        """Return the facts of the first worker, and of its successors if it dies."""
        for _ in range(self._settings.retries):
            try:
                return await self._asked_facts()
            except RayActorError:
                continue
        return await self._asked_facts()

    async def _asked_facts(self) -> WorkerFacts:
        if self._facts is None:
            worker = self._workers[0]
            try:
                self._facts = await worker.facts.remote()
            except RayActorError:
                self._replace(0, worker)
                raise
        return self._facts

    async def _opened_cache(self) -> EvaluationCache | None:
        if self._cache is None and self._cache_base is not None:
            opened = await self._on_disk(EvaluationCache, Path(self._cache_base), self._settings.cache_mb)
            self._cache = self._cache or opened
        return self._cache

    async def _on_disk(self, call: Any, *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call, *values)

    async def _compiled(self, kernel: Kernel, facts: WorkerFacts) -> Compiled | Rejected:
        """Compile a kernel in a Ray task, on any machine that compiles for the workers' target, or else on the first worker's."""
        timeout, wanted = self._settings.compile_timeout, dict(facts.fingerprints)
        arguments = (kernel, self._device, facts.target, facts.signature, timeout, wanted, self._builds)
        async with self._compilers:
            try:
                made = await _cancelling(self._compile.remote(*arguments))
                if isinstance(made, OtherTarget):
                    there = NodeAffinitySchedulingStrategy(facts.node, soft=False)
                    self._compile = self._compile.options(scheduling_strategy=there)
                    made = await _cancelling(self._compile.remote(*arguments))
            except RayTaskError:
                raise
            except RayError as error:
                raise UserError(death_message("the process that compiles", "while it compiles", error)) from error
        if not isinstance(made, Compiled | Rejected):
            raise InfrastructureError("a worker's machine compiles for another target than it reported")
        return made

    def _rejected(self, kernel: Kernel, made: Rejected, facts: WorkerFacts) -> Evaluation:
        return Evaluation(
            kernel_id=kernel.id,
            task_id=self._task.id,
            device=facts.target.device,
            status=made.failure.status,
            diagnosis=made.failure.diagnosis,
            seconds=made.seconds,
            environment=facts.environment,
        )

    async def _evaluated(self, kernel: Kernel, compiled: Compiled) -> EvaluationReply:
        number = next(self._numbers)
        job = _Job(number, EvaluationRequest(number, kernel, compiled), asyncio.get_running_loop().create_future())
        self._ready.put_nowait(job)
        try:
            return await job.reply
        except asyncio.CancelledError:
            if job.worker is not None:
                job.worker.cancel.remote(number)
            raise

    async def _serve_when_ready(self, place: int) -> None:
        """Wait until a worker is ready, and serve its place. If it fails to get ready, its first kernel shows the error."""
        with suppress(RayError):
            await self._workers[place].warm.remote()
        await self._serve(place)

    async def _serve(self, place: int) -> None:
        """Give batches of kernels to the worker of a place, one after the other, and to its successors when it dies."""
        while True:
            batch = [await self._ready.get()]
            while len(batch) < self._settings.batch and not self._ready.empty():
                batch.append(self._ready.get_nowait())
            worker = self._workers[place]
            try:
                await self._run_batch(worker, [job for job in batch if not job.reply.done()])
            except RayTaskError as error:
                self._requeue_or_fail(batch, error, 0)
            except RayError as error:
                self._replace(place, worker)
                self._requeue_or_fail(batch, error, self._settings.retries)

    async def _run_batch(self, worker: Any, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        replies = worker.evaluate.options(num_returns="streaming").remote([job.request for job in jobs], self._best)
        for job in jobs:
            job.worker = worker
        left = iter(jobs)
        async for reference in replies:
            reply = await reference
            job = next(left)
            job.worker = None
            if reply is not None and not job.reply.done():
                job.reply.set_result(reply)

    def _requeue_or_fail(self, batch: Sequence[_Job], error: Exception, retries: int) -> None:
        """Handle a batch that ended early: the first job without a reply is counted as the cause, and the others wait again."""
        left = [job for job in batch if not job.reply.done()]
        for place, job in enumerate(left):
            job.worker = None
            job.attempts += place == 0
            if job.attempts > retries and place == 0:
                cause = (
                    error
                    if isinstance(error, RayTaskError)
                    else UserError(death_message("the process that evaluates", "while it evaluates", error))
                )
                job.reply.set_exception(cause)
            else:
                self._ready.put_nowait(job)

    async def compare(self, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
        """Make the final measurement of some kernels on the first worker, and cancel evaluations in progress."""
        for task in self._under_way.values():
            task.cancel()
        for _ in range(self._settings.retries):
            with suppress(RayActorError):
                return await self._compared(kernels, with_compile)
        return await self._compared(kernels, with_compile)

    async def _compared(self, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
        worker = self._workers[0]
        try:
            found: Comparison = await worker.compare.remote(kernels, with_compile)
        except RayActorError:
            self._replace(0, worker)
            raise
        return found

    async def close(self) -> None:
        """Cancel everything, close the workers and remove the folders."""
        for task in (*self._servers, *self._under_way.values()):
            task.cancel()
        await asyncio.gather(*map(_closed, self._workers))
        for opened in (self._cache, self._recording, self._replayed):
            if opened is not None:
                await self._on_disk(opened.close)
        if self._own_builds is not None:
            self._own_builds.remove()


async def _cancelling(reference: Any) -> Any:
    """Return the result of a Ray task. If the waiting is cancelled, the task is cancelled too."""
    try:
        return await reference
    except asyncio.CancelledError:
        ray.cancel(reference)
        raise


async def _closed(worker: Any) -> None:
    with suppress(RayActorError, TimeoutError):
        await asyncio.wait_for(worker.close.remote(), _CLOSE_SECONDS)
    ray.kill(worker)
