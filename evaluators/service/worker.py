"""The worker: the actor that evaluates kernels with one pipeline and its runtime, in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from devices.base import Device
from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.service.comparison import Comparison
from evaluators.service.compiling import Compiled, fingerprint
from evaluators.service.identity import identity_of
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import InfrastructureError, UserError
from kernelevolve.core.evaluation import Evaluation
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Ceilings, Target
from kernelevolve.core.task import Task

if TYPE_CHECKING:
    from evaluators.service.pipeline import Pipeline

THREADS = 4
"""The threads of a worker. One evaluates, and the others serve `cancel` and `close` meanwhile."""


@dataclass(frozen=True)
class EvaluationRequest:
    """The request to evaluate one kernel of a batch."""

    number: int
    """The number of the request, for `cancel`."""
    kernel: Kernel
    """The kernel."""
    compiled: Compiled
    """The compiled kernel."""


@dataclass(frozen=True)
class EvaluationReply:
    """The reply to a request."""

    evaluation: Evaluation
    """The evaluation of the kernel."""
    identity: str
    """The hash of the conditions of the evaluation besides the kernel, see `identity_of`."""


@dataclass(frozen=True)
class WorkerFacts:
    """Facts about a worker and its machine."""

    node: str
    """Ray's id of the machine."""
    target: Target
    """The device of the machine."""
    signature: Signature
    """The signature of the task's calls."""
    identity: str
    """The hash of the conditions of evaluations besides the kernel, see `identity_of`."""
    environment: Mapping[str, str]
    """The versions and facts on which evaluations depend."""
    fingerprints: Mapping[str, str]
    """The fingerprints of the machine's toolchains for its target, by language; empty if it compiles nothing for the target."""
    toolchains: Mapping[str, str]
    """The versions of the available toolchains, by language."""
    lock: str
    """The name of the lock of the device that it measures on."""


class EvaluationWorker:
    """Evaluates batches of kernels. Methods may be called while another one runs; those that use the pipeline wait for each other."""

    def __init__(self, task: Task, device: Device, settings: EvaluationSettings) -> None:
        from evaluators.service.pipeline import Pipeline  # It imports torch, which the scheduler does not need.

        self._working = threading.Lock()
        """The lock of the pipeline."""
        self._state = threading.Lock()
        """The lock of the fields below."""
        self._running: int | None = None
        self._cancelled: set[int] = set()
        self._closing = False
        # An error in the constructor would be seen as the death of the actor, so the first call raises it instead.
        self._pipeline: Pipeline | UserError
        try:
            self._pipeline = Pipeline(task, device, settings)
            self._pipeline.runtime.start()
            self._identity = identity_of(task, device, self._pipeline.target, settings, careful=False)
        except UserError as error:
            self._pipeline = error

    def warm(self) -> str:
        """Prepare everything that the first evaluation needs.

        Returns:
            One line that says so if evaluating takes long, or an empty text.

        Raises:
            UserError: The task is at fault, or this machine has no such device.
        """
        with self._working:
            pipeline = self._ready()
            note = pipeline.announce()
            pipeline.warm()
            return note

    def facts(self) -> WorkerFacts:
        """Return the facts about this worker. Raises as `warm` does."""
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
                lock=pipeline.runtime.device,
            )

    def ceilings(self) -> Ceilings | None:
        """Measure the rates that the device reaches, in a process of its own and under a lock of its own, so that evaluations go on."""
        pipeline = self._ready()
        try:
            return pipeline.device.ceilings(DeviceLock(device=pipeline.runtime.device).exclusive())
        except (UserError, InfrastructureError) as error:
            return Ceilings(model=pipeline.target.arch, note=str(error))

    def evaluate(self, requests: Sequence[EvaluationRequest], best: float) -> Iterator[EvaluationReply | None]:
        """Evaluate the kernels of a batch in turn. An error ends the batch.

        Args:
            requests: The requests.
            best: The speedup of the best kernel known to the search, 0 if there is none.

        Yields:
            The reply to each request, or None if it was cancelled.
        """
        with self._working:
            for request in requests:
                reply = self._evaluate(request, best)
                best = max(best, reply.evaluation.measured_fitness if reply else 0.0)
                yield reply
            with self._state:
                self._cancelled.clear()

    def compare(self, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
        """Make the final measurement of some kernels. Raises UserError if the task is at fault."""
        from evaluators.service.finals import compare_finalists

        with self._working:
            pipeline = self._ready()
            with self._state:
                if self._closing:
                    raise InterruptedJobError
                pipeline.runtime.resume()
            return compare_finalists(pipeline, kernels, with_compile=with_compile)

    def cancel(self, number: int) -> None:
        """Cancel a request of the batch: interrupt it if it is in progress, or else skip it."""
        with self._state:
            self._cancelled.add(number)
            if self._running == number:
                self._ready().runtime.interrupt()

    def close(self) -> None:
        """Interrupt the evaluation in progress, end all runners and remove the folders."""
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
