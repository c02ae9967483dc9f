"""The actor that measures: one pipeline with its fork server, in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from devices.registry import get_device
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.service.comparison import Comparison
from evaluators.service.compiling import Compiled, fingerprint
from evaluators.service.identity import identity_of
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

if TYPE_CHECKING:
    from evaluators.service.pipeline import Pipeline

THREADS = 4
"""One evaluates; the others are for `cancel` and `close` meanwhile."""


@dataclass(frozen=True)
class EvaluationRequest:
    """One kernel of a lease."""

    number: int
    kernel: str
    compiled: Compiled


@dataclass(frozen=True)
class WorkerFacts:
    """Of a judge and its machine."""

    node: str
    """Ray's id."""
    identity: str
    """What verdicts rest on besides the kernel."""
    environment: Mapping[str, str]
    fingerprints: Mapping[str, str]
    """Of its toolchains."""


@dataclass(frozen=True)
class EvaluationReply:
    """The verdict on one kernel, as JSON, and what it rests on besides."""

    verdict: str
    fitness: float
    """As measured, 0 where it is a guess."""
    identity: str


class EvaluationWorker:
    """Methods may be called while another runs; evaluations wait for each other."""

    def __init__(self, task_json: str, device: str, settings_json: str) -> None:
        from evaluators.service.pipeline import Pipeline  # With torch, which the hub does without.

        task = Task.model_validate_json(task_json)
        settings = EvaluationSettings.model_validate_json(settings_json)
        self._turn = threading.Lock()
        """Whose the pipeline is."""
        self._state = threading.Lock()
        self._running: int | None = None
        self._cancelled: set[int] = set()
        self._closing = False
        # What a constructor raises arrives as the death of the actor: the first call raises it instead.
        self._pipeline: Pipeline | UserError
        try:
            self._pipeline = Pipeline(task, get_device(device), settings)
            self._pipeline.runtime.start()
            self._identity = identity_of(task, self._pipeline.device, settings, careful=False)
        except UserError as error:
            self._pipeline = error

    def warm(self) -> str:
        """Have everything ready. Returns what there is to say of a task that is slow to judge.

        Raises UserError where the task is at fault.
        """
        with self._turn:
            pipeline = self._ready()
            note = pipeline.announce()
            pipeline.warm()
            return note

    def facts(self) -> WorkerFacts:
        pipeline = self._ready()
        device = pipeline.device
        return WorkerFacts(
            node=ray.get_runtime_context().get_node_id(),
            identity=self._identity,
            environment=pipeline.environment(),
            fingerprints={name: fingerprint(device, name) for name in device.toolchains()},
        )

    def evaluate(self, orders: Sequence[EvaluationRequest], best: float) -> Iterator[EvaluationReply | None]:
        """The verdicts in turn; None for what was cancelled. `best`: as the pipeline's. What it raises ends the lease."""
        with self._turn:
            for order in orders:
                answer = self._evaluate(order, best)
                best = max(best, answer.fitness if answer else 0.0)
                yield answer
            with self._state:
                self._cancelled.clear()

    def _evaluate(self, order: EvaluationRequest, best: float) -> EvaluationReply | None:
        pipeline = self._ready()
        with self._state:
            if self._closing or order.number in self._cancelled:
                return None
            pipeline.runtime.resume()
            self._running = order.number
        try:
            kernel = Kernel.model_validate_json(order.kernel)
            if order.compiled.target != fingerprint(pipeline.device, kernel.language):
                raise RuntimeError(
                    "judges are on machines that need different artifacts: give Ray machines of one kind"
                )
            verdict = pipeline.evaluate(kernel, best, compiled=order.compiled)
            return EvaluationReply(verdict.model_dump_json(), verdict.measured_fitness, self._identity)
        except InterruptedJobError:
            return None
        finally:
            with self._state:
                self._running = None
                pipeline.runtime.resume()

    def compare(self, kernels: Sequence[str], with_compile: bool) -> Comparison:
        """The last measurement, of these kernels as JSON. Raises UserError where the task is at fault."""
        from evaluators.service.finals import compare_finalists

        with self._turn:
            pipeline = self._ready()
            with self._state:
                if self._closing:
                    raise InterruptedJobError
                pipeline.runtime.resume()
            return compare_finalists(
                pipeline, [Kernel.model_validate_json(kernel) for kernel in kernels], with_compile=with_compile
            )

    def cancel(self, number: int) -> None:
        """Nobody waits for this kernel of the lease any more: stop at once where it is under way, else do not begin."""
        with self._state:
            self._cancelled.add(number)
            if self._running == number:
                self._ready().runtime.interrupt()

    def close(self) -> None:
        """End whatever runs, and remove the folders."""
        if isinstance(self._pipeline, UserError):
            return
        with self._state:
            self._closing = True
            self._pipeline.runtime.interrupt()
        with self._turn:
            self._pipeline.close()

    def _ready(self) -> Pipeline:
        if isinstance(self._pipeline, UserError):
            raise self._pipeline
        return self._pipeline
