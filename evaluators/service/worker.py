"""The actor that evaluates: one pipeline with its runtime, in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from devices.base import Device
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.service.comparison import Comparison
from evaluators.service.compiling import Compiled, fingerprint
from evaluators.service.identity import identity_of
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task

if TYPE_CHECKING:
    from evaluators.service.pipeline import Pipeline

THREADS = 4
"""One evaluates; the others are for `cancel` and `close` meanwhile."""


@dataclass(frozen=True)
class EvaluationRequest:
    """One kernel of a batch."""

    number: int
    kernel: Kernel
    compiled: Compiled


@dataclass(frozen=True)
class EvaluationReply:
    """The evaluation of one kernel."""

    evaluation: Evaluation
    identity: str
    """What the evaluation rests on besides the kernel."""


@dataclass(frozen=True)
class WorkerFacts:
    """What others need to know of a worker and its machine."""

    node: str
    """Ray's id of the machine."""
    target: Target
    signature: Signature
    identity: str
    """What evaluations rest on besides the kernel."""
    environment: Mapping[str, str]
    fingerprints: Mapping[str, str]
    """By language, what decides the artifacts that this machine makes for its target; empty where it makes none."""
    toolchains: Mapping[str, str]
    """By language, the versions of the toolchains that are there."""


class EvaluationWorker:
    """Methods may be called while another runs; evaluations wait for each other."""

    def __init__(self, task: Task, device: Device, settings: EvaluationSettings) -> None:
        from evaluators.service.pipeline import Pipeline  # With torch, which the scheduler does without.

        self._working = threading.Lock()
        """Whoever has it uses the pipeline."""
        self._state = threading.Lock()
        self._running: int | None = None
        self._cancelled: set[int] = set()
        self._closing = False
        # What a constructor raises arrives as the death of the actor: the first call raises it instead.
        self._pipeline: Pipeline | UserError
        try:
            self._pipeline = Pipeline(task, device, settings)
            self._pipeline.runtime.start()
            self._identity = identity_of(task, device, self._pipeline.target, settings, careful=False)
        except UserError as error:
            self._pipeline = error

    def warm(self) -> str:
        """Have everything ready. Returns what there is to say of a task that is slow to evaluate.

        Raises UserError where the task is at fault, and where this machine has no such device.
        """
        with self._working:
            pipeline = self._ready()
            note = pipeline.announce()
            pipeline.warm()
            return note

    def facts(self) -> WorkerFacts:
        """Raises as `warm` does."""
        with self._working:
            pipeline = self._ready()
            toolchains = pipeline.device.toolchains()
            capabilities = {language: toolchain.capability() for language, toolchain in toolchains.items()}
            return WorkerFacts(
                node=ray.get_runtime_context().get_node_id(),
                target=pipeline.target,
                signature=pipeline.protocol.signature(),
                identity=self._identity,
                environment=pipeline.environment(),
                fingerprints={name: fingerprint(pipeline.device, pipeline.target, name) for name in toolchains},
                toolchains={name: found.detail for name, found in capabilities.items() if found.available},
            )

    def evaluate(self, requests: Sequence[EvaluationRequest], best: float) -> Iterator[EvaluationReply | None]:
        """The evaluations in turn; None for what was cancelled. What it raises ends the batch.

        `best`: the speedup of the best kernel known to the search, 0 where there is none.
        """
        with self._working:
            for request in requests:
                reply = self._evaluate(request, best)
                best = max(best, reply.evaluation.measured_fitness if reply else 0.0)
                yield reply
            with self._state:
                self._cancelled.clear()

    def compare(self, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
        """The last measurement, of these kernels. Raises UserError where the task is at fault."""
        from evaluators.service.finals import compare_finalists

        with self._working:
            pipeline = self._ready()
            with self._state:
                if self._closing:
                    raise InterruptedJobError
                pipeline.runtime.resume()
            return compare_finalists(pipeline, kernels, with_compile=with_compile)

    def cancel(self, number: int) -> None:
        """Nobody waits for this kernel of the batch any more: stop at once where it is under way, else do not begin."""
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
        with self._working:
            self._pipeline.close()

    def _evaluate(self, request: EvaluationRequest, best: float) -> EvaluationReply | None:
        pipeline = self._ready()
        with self._state:
            if self._closing or request.number in self._cancelled:
                return None
            pipeline.runtime.resume()
            self._running = request.number
        try:
            language = request.kernel.language
            if request.compiled.fingerprint != fingerprint(pipeline.device, pipeline.target, language):
                raise UserError(
                    "the machines that evaluate need different artifacts: give Ray machines of one kind, or set evaluation.workers=1"
                )
            evaluation = pipeline.evaluate(request.kernel, best, compiled=request.compiled)
            return EvaluationReply(evaluation, self._identity)
        except InterruptedJobError:
            return None
        finally:
            with self._state:
                self._running = None
                pipeline.runtime.resume()

    def _ready(self) -> Pipeline:
        if isinstance(self._pipeline, UserError):
            raise self._pipeline
        return self._pipeline
