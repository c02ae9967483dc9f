"""The evaluation pipeline of a kernel: source check, compilation, and the protocol's correctness checks and timing.

The first stage that fails ends the evaluation.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from devices.base import Artifact, Device
from evaluators.folders import OwnedFolder
from evaluators.protocols.base import Effort, EvaluationProtocol, Laps, ProtocolResult
from evaluators.protocols.kernelbench import KernelBenchProtocol
from evaluators.protocols.strict import StrictProtocol
from evaluators.runtime.base import Runtime, RuntimeLostError
from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.registry import open_runtime
from evaluators.sandbox.isolation import isolation_of
from evaluators.scratch import disk_errors
from evaluators.service.compiling import Compiled, compile_kernel
from evaluators.service.source import check_source
from evaluators.settings import EvaluationSettings, Protocol, TimingSettings
from evaluators.timing.machine_noise import joined
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.evaluation import Evaluation, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.task import Task

_T = TypeVar("_T")


class Pipeline:
    """Evaluates kernels of one task on one device, one after the other. Call `close` in the end."""

    def __init__(
        self,
        task: Task,
        device: Device,
        settings: EvaluationSettings,
        build_dir: Path | None = None,
        *,
        careful: bool = False,
        runtime: Runtime | None = None,
    ) -> None:
        """Open the pipeline.

        Args:
            task: The task.
            device: The device, which this machine has.
            settings: The settings of evaluation.
            build_dir: The folder in which compiled kernels are kept, or None to create one that is removed in the end.
            careful: Whether kernels are measured as finalists are, and on the task's further inputs too.
            runtime: A runtime with these settings that pipelines share, or None to open one.
        """
        self.task = task
        self.device = device
        self.target = device.target()
        self.settings = settings
        self.effort = Effort(settings.final if careful else settings.timing, variants=careful)
        """How kernels are measured."""
        self.isolation = isolation_of(settings)
        # Threads of this process would spin on the cores on which it measures.
        torch.set_num_threads(1)
        self._owns_runtime = runtime is None
        self.runtime = runtime or open_runtime(settings, self.target, device.instance())
        self.lock = DeviceLock(interruption=self.runtime.interruption, device=self.runtime.device)
        with disk_errors(Path(tempfile.gettempdir()), "what is compiled"):
            self._own_builds = None if build_dir else OwnedFolder(Path(tempfile.gettempdir()), "kernelevolve-build")
        self.build_dir = build_dir or (self._own_builds.path if self._own_builds else Path())
        self.strict = StrictProtocol(task, settings, self.runtime, self.lock)
        """The protocol by which finalists are compared."""
        self.protocol: EvaluationProtocol = self.strict
        """The protocol by which kernels are evaluated."""
        if settings.protocol is Protocol.KERNELBENCH:
            self.protocol = KernelBenchProtocol(task, settings, self.runtime, self.lock)

    def announce(self) -> str:
        """Return one line that says so if evaluating takes long, or an empty text. Raises UserError if the task is at fault."""
        self.runtime.start()
        return self._again(lambda: self.protocol.announce(self.effort.timing))

    def warm(self) -> None:
        """Prepare everything that the first evaluation needs. Raises UserError if the task is at fault."""
        self.runtime.start()
        self._again(self.protocol.prepare)

    def evaluate(
        self,
        kernel: Kernel,
        best: float | None = None,
        *,
        timing: TimingSettings | None = None,
        variants: bool | None = None,
        compiled: Compiled | None = None,
    ) -> Evaluation:
        """Evaluate a kernel.

        Args:
            kernel: The kernel.
            best: The speedup of the best kernel known to a search, 0 if there is none; see `Effort.best`.
            timing: How long to measure, or None for the pipeline's own settings.
            variants: Whether to measure the task's further inputs too, or None for the pipeline's own settings.
            compiled: The result of `compile_task`, or None to compile the kernel here.

        Raises:
            UserError: The task is at fault.
            InfrastructureError, OSError: This machine is at fault.
            InterruptedJobError: The runtime was interrupted.
        """
        laps = Laps(dict(compiled.seconds) if compiled else {})
        effort = Effort(timing or self.effort.timing, self.effort.variants if variants is None else variants, best)
        try:
            artifact = compiled.unpack(self.build_dir) if compiled else self._compiled(kernel, laps)
            verdict = self._again(lambda: self.protocol.evaluate(kernel, artifact, effort))
        except FailedError as error:
            verdict = ProtocolResult({}, failure=error.failure)
        except RuntimeLostError:
            verdict = ProtocolResult(
                {}, Failure(Status.CRASHED, "integrity", "ended the process that evaluates it, twice")
            )
        failure = verdict.failure
        return Evaluation(
            kernel_id=kernel.id,
            task_id=self.task.id,
            device=self.target.device,
            status=failure.status if failure else Status.OK,
            measurement=verdict.measurement,
            variants=verdict.variants,
            diagnosis=failure.diagnosis if failure else None,
            checks=verdict.checks,
            aten=verdict.aten,
            fallback=verdict.fallback,
            seconds={**laps.seconds, **verdict.seconds},
            machine=joined(verdict.machine),
            environment={**self.environment(), **verdict.notes},
        )

    def environment(self) -> dict[str, str]:
        """Return the versions and facts on which evaluations depend."""
        return {
            "protocol": self.settings.protocol,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "arch": self.target.arch,
            "isolation": self.isolation,
            "threads": str(self.runtime.threads),
        }

    def compile(self, kernel: Kernel) -> Artifact:
        """Compile a kernel with its toolchain. Raises FailedError if it cannot be compiled."""
        return compile_kernel(
            kernel,
            self.device,
            self.target,
            self.protocol.signature(),
            self.build_dir,
            self.settings.compile_timeout,
            self.lock,
        )

    def close(self) -> None:
        """End all runners and remove the files."""
        self.strict.close()
        self.protocol.close()
        if self._owns_runtime:
            self.runtime.close()
        if self._own_builds is not None:
            self._own_builds.remove()

    def _compiled(self, kernel: Kernel, laps: Laps) -> Artifact:
        with laps.lap("source"):
            failure = check_source(kernel.source)
        if failure:
            raise FailedError(failure)
        self.warm()  # A task at fault is reported before anything is compiled.
        with laps.lap("compile"):
            return self.compile(kernel)

    def _again(self, work: Callable[[], _T]) -> _T:
        """Call `work`, and once more if the runtime died. A second death is raised."""
        try:
            return work()
        except RuntimeLostError:
            return work()
