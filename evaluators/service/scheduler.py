"""The actor between islands and judges: kernels are looked up, compiled by tasks of their own, then judged, first come, first served."""

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

from devices.base import Device
from evaluators.folders import OwnedFolder
from evaluators.scratch import disk_errors
from evaluators.service.cache import VerdictCache
from evaluators.service.comparison import Comparison
from evaluators.service.compiling import Compiled, OtherTarget, Rejected, compile_apart
from evaluators.service.recording import Replayed, VerdictRecording
from evaluators.service.worker import THREADS, EvaluationReply, EvaluationRequest, EvaluationWorker, WorkerFacts
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task
from kernelevolve.remote import died, spread

_CLOSE_SECONDS = 8.0


@dataclass(order=True)
class _Job:
    """A compiled kernel on its way through a judge; the earlier one is the smaller one."""

    number: int
    order: EvaluationRequest = field(compare=False)
    told: asyncio.Future[EvaluationReply] = field(compare=False)
    attempts: int = field(default=0, compare=False)
    worker: Any = field(default=None, compare=False)
    """That has it."""


class EvaluationScheduler:
    """A kernel that is under way is not judged twice; one that nobody waits for any more is stopped."""

    def __init__(
        self,
        task: Task,
        device: Device,
        settings: EvaluationSettings,
        cache_base: str | None,
        recording: str | None = None,
        replayed: str | None = None,
    ) -> None:
        """`cache_base`: where verdicts of earlier runs are; None: they do not count. `recording`: the file, below a folder that is there
        when the first kernel comes, that takes every verdict; `replayed`: such a file of an earlier run, whose verdicts are given again.
        """
        self._task, self._device, self._settings = task, device, settings
        self._cache_base = cache_base
        self._cache: VerdictCache | None = None
        self._files = recording, replayed
        self._recording: VerdictRecording | None = None
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
        self._anywhere = ray.remote(compile_apart).options(num_cpus=1, max_retries=settings.retries)
        self._compile = self._anywhere
        self._best = 0.0
        self._workers: list[Any] = [self._hire(0)]

    def _hire(self, place: int) -> Any:
        # Each measures alone on its machine: where there are several machines, on several.
        where = spread(place) if self._settings.workers > 1 else "DEFAULT"
        worker = ray.remote(EvaluationWorker).options(
            **self._device.resources(), max_restarts=0, max_concurrency=THREADS, scheduling_strategy=where
        )
        return worker.remote(self._task, self._device, self._settings)

    def _replace(self, place: int, dead: Any) -> None:
        """It may have gone with its machine."""
        if self._workers[place] is dead:
            self._workers[place] = self._hire(place)
            self._facts, self._compile = None, self._anywhere

    async def warm(self) -> str:
        """Have everything ready that the first kernels need. Returns what there is to say of a task that is slow to judge.

        Raises UserError where the task is at fault, there is no place for builds or verdicts, or judges and compile workers die each time.
        """
        self._make_room()
        await self._opened_cache()
        note, *_ = await asyncio.gather(
            self._warm_worker(), *(self._warm_compiler() for _ in range(self._settings.compile_workers))
        )
        self._start()
        return str(note)

    async def _warm_worker(self) -> str:
        """The first one, or one that follows it where it dies."""
        left = self._settings.retries
        while True:
            worker = self._workers[0]
            try:
                return str(await worker.warm.remote())
            except RayActorError as error:
                self._replace(0, worker)
                if not left:
                    raise UserError(died("the process that judges", "while it gets ready", error)) from error
                left -= 1

    @property
    def _builds(self) -> str:
        """Where compile tasks work; empty before there is room."""
        return str(self._own_builds.path) if self._own_builds else ""

    async def _warm_compiler(self) -> None:
        """Have a process started that Ray will use again."""
        nothing = Kernel(source="", language="python")
        nowhere = Target(device=self._device.name, vendor="", arch="")
        timeout = self._settings.compile_timeout
        try:
            await self._compile.remote(nothing, self._device, nowhere, Signature(), timeout, {}, self._builds)
        except RayTaskError:
            raise
        except RayError as error:
            raise UserError(died("the process that compiles", "while it gets ready", error)) from error

    def _make_room(self) -> None:
        if self._own_builds is None:
            with disk_errors(Path(tempfile.gettempdir()), "what is compiled"):
                self._own_builds = OwnedFolder(Path(tempfile.gettempdir()), "kernelevolve-build")

    def _start(self) -> None:
        self._make_room()
        if not self._servers:
            self._servers = [asyncio.create_task(self._serve(0))]
            # Later than the first: starting takes the processors that it starts with.
            while len(self._workers) < self._settings.workers:
                self._workers.append(self._hire(len(self._workers)))
                self._servers.append(asyncio.create_task(self._join(len(self._workers) - 1)))

    async def facts(self) -> WorkerFacts:
        """Of the first worker: they are of a kind. Raises as `warm` does."""
        return await self._first_facts()

    async def evaluate(self, kernel_id: str, held: Sequence[Any]) -> Evaluation:
        """`held`: one reference to the kernel, which is fetched when there is room for it."""
        self._start()
        task = self._under_way.get(kernel_id)
        if task is None or task.cancelling():
            task = asyncio.create_task(self._answer(kernel_id, held[0]))
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

    def _forget(self, kernel_id: str, task: asyncio.Task[Evaluation]) -> None:
        if self._under_way.get(kernel_id) is task:
            del self._under_way[kernel_id]

    async def _answer(self, kernel_id: str, held: Any) -> Evaluation:
        async with self._room:
            facts = await self._first_facts()
            evaluation, identity = await self._known(kernel_id, facts), facts.identity
            if evaluation is None:
                evaluation, identity = await self._found_out(await held, facts)
                cache = await self._opened_cache()
                if cache is not None:
                    await self._on_disk(cache.put, evaluation, identity)
            self._best = max(self._best, evaluation.measured_fitness)
            if self._recording is not None:
                await self._on_disk(self._recording.put, evaluation, identity)
            return evaluation

    async def _known(self, kernel_id: str, facts: WorkerFacts) -> Evaluation | None:
        """The verdict of an earlier run: of the one that is replayed, else of any."""
        cache = await self._opened_cache()
        await self._on_disk(self._open_recordings)
        known: Evaluation | None = None
        if self._replayed is not None:
            known = await self._on_disk(self._replayed.next, kernel_id, facts.identity)
        if known is None and cache is not None:
            known = await self._on_disk(cache.get, kernel_id, facts.identity)
        return known

    async def _found_out(self, kernel: Kernel, facts: WorkerFacts) -> tuple[Evaluation, str]:
        """(the evaluation, what it rests on besides the kernel)"""
        made = await self._compiled(kernel, facts)
        if isinstance(made, Rejected):
            return self._rejected(kernel, made, facts), facts.identity
        reply = await self._judged(kernel, made)
        return reply.evaluation, reply.identity

    def _open_recordings(self) -> None:
        recording, replayed = self._files
        if recording is not None and self._recording is None:
            self._recording = VerdictRecording(Path(recording))
        if replayed is not None and self._replayed is None and Path(replayed).is_file():
            self._replayed = Replayed(VerdictRecording(Path(replayed)))

    async def _first_facts(self) -> WorkerFacts:
        """Of the first judge: they are of a kind."""
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

    async def _opened_cache(self) -> VerdictCache | None:
        if self._cache is None and self._cache_base is not None:
            opened = await self._on_disk(VerdictCache, Path(self._cache_base), self._settings.cache_mb)
            self._cache = self._cache or opened
        return self._cache

    async def _on_disk(self, call: Any, *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call, *values)

    async def _compiled(self, kernel: Kernel, facts: WorkerFacts) -> Compiled | Rejected:
        """By a task: on any machine that compiles for that of the judges, else on theirs."""
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
                raise UserError(died("the process that compiles", "while it compiles", error)) from error
        if not isinstance(made, Compiled | Rejected):
            raise RuntimeError("a judge's machine compiles for another target than it said")
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

    async def _judged(self, kernel: Kernel, compiled: Compiled) -> EvaluationReply:
        number = next(self._numbers)
        job = _Job(number, EvaluationRequest(number, kernel, compiled), asyncio.get_running_loop().create_future())
        self._ready.put_nowait(job)
        try:
            return await job.told
        except asyncio.CancelledError:
            if job.worker is not None:
                job.worker.cancel.remote(number)
            raise

    async def _join(self, place: int) -> None:
        """Serve once the judge is ready. Whatever is wrong with it, the first kernel tells."""
        with suppress(RayError):
            await self._workers[place].warm.remote()
        await self._serve(place)

    async def _serve(self, place: int) -> None:
        """One judge's place: leases, one after the other, for it and for those that follow it when it dies."""
        while True:
            lease = [await self._ready.get()]
            while len(lease) < self._settings.batch and not self._ready.empty():
                lease.append(self._ready.get_nowait())
            worker = self._workers[place]
            try:
                await self._lease(worker, [job for job in lease if not job.told.done()])
            except RayTaskError as error:
                self._blame(lease, error, 0)
            except RayError as error:
                self._replace(place, worker)
                self._blame(lease, error, self._settings.retries)

    async def _lease(self, worker: Any, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        answers = worker.evaluate.options(num_returns="streaming").remote([job.order for job in jobs], self._best)
        for job in jobs:
            job.worker = worker
        left = iter(jobs)
        async for answer in answers:
            told = await answer
            job = next(left)
            job.worker = None
            if told is not None and not job.told.done():
                job.told.set_result(told)

    def _blame(self, lease: Sequence[_Job], error: Exception, retries: int) -> None:
        """After a lease ended early: the first that has no answer is at fault, or had bad luck; the others wait for the next judge."""
        left = [job for job in lease if not job.told.done()]
        for place, job in enumerate(left):
            job.worker = None
            job.attempts += place == 0
            if job.attempts > retries and place == 0:
                told = (
                    error
                    if isinstance(error, RayTaskError)
                    else UserError(died("the process that judges", "while it judges", error))
                )
                job.told.set_exception(told)
            else:
                self._ready.put_nowait(job)

    async def compare(self, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
        """The last measurement, of these kernels, by the first judge; nobody waits any more for what is under way.

        Raises UserError where the task is at fault.
        """
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
        """Stop everything at once."""
        for task in (*self._servers, *self._under_way.values()):
            task.cancel()
        await asyncio.gather(*map(_closed, self._workers))
        for opened in (self._cache, self._recording, self._replayed):
            if opened is not None:
                await self._on_disk(opened.close)
        if self._own_builds is not None:
            self._own_builds.remove()


async def _cancelling(reference: Any) -> Any:
    """What a task returns; it is cancelled with whoever waits."""
    try:
        return await reference
    except asyncio.CancelledError:
        ray.cancel(reference)
        raise


async def _closed(worker: Any) -> None:
    with suppress(RayActorError, TimeoutError):
        await asyncio.wait_for(worker.close.remote(), _CLOSE_SECONDS)
    ray.kill(worker)
