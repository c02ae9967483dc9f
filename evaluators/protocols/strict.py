"""The strict protocol: checks against a float64 oracle on unforeseeable inputs, then timing in alternation with the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from devices.base import Artifact
from evaluators.correctness.checker import Checker
from evaluators.correctness.inputs.checks import COMPILED
from evaluators.correctness.ledger import RULE, TIMED_CALLS, Ledger
from evaluators.correctness.reference.data import Reference
from evaluators.correctness.reference.probe import Probe, check_seconds, slowness
from evaluators.correctness.reference.store import compute_reference, find_reference, probe_task
from evaluators.protocols.base import Effort, EvaluationProtocol, Laps, ProtocolResult, signature_of
from evaluators.runtime.base import Runner, Runtime
from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.settings import EvaluationSettings, TimingSettings
from evaluators.timing.benchmark import PATIENCE, SpeedupBenchmark, TimedMeasurement
from evaluators.timing.reference_pool import ReferencePool
from evaluators.verdict import FailedError
from kernelevolve.core.evaluation import AtenShare, FallbackShare, Measurement
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.task import AllowAten, Task


@dataclass(frozen=True)
class CheckedKernel:
    """A kernel that has passed all checks, in runners that are ready to be timed."""

    runners: list[Runner]
    """The runners that hold the kernel."""
    fallback: FallbackShare | None
    """The share of its calls that the kernel left to the reference's operations, or None if it does not count them."""


class StrictProtocol(EvaluationProtocol):
    """The strict protocol for one task on one runtime."""

    def __init__(self, task: Task, settings: EvaluationSettings, runtime: Runtime, lock: DeviceLock) -> None:
        self.task = task
        self.settings = settings
        self.pool = ReferencePool(task, settings, runtime)
        """The runners of the reference."""
        self._runtime = runtime
        self._lock = lock
        self._probe: Probe | None = None
        self._reference: Reference | None = None
        self._checker: Checker | None = None
        self._benchmark: SpeedupBenchmark | None = None

    def announce(self, timing: TimingSettings) -> str:
        known = self._reference or find_reference(self.task, self.settings, self._runtime.device_type)
        if known is None:
            self._probe = self._probe or probe_task(self.task, self.settings, self._runtime)
            return slowness(self.task, self._probe, self.settings, timing, prepared=False)
        return slowness(self.task, known.probe, self.settings, timing, prepared=True)

    def prepare(self) -> None:
        self.reference()

    def signature(self) -> Signature:
        reference = self.reference()
        return signature_of(case.inputs for case in (reference.main, *reference.variants.values()))

    def reference(self) -> Reference:
        """Return the reference data of the task. They are computed again if the system or the user has removed their files."""
        if self._reference is not None:
            try:
                self._reference.touch()
            except FileNotFoundError:
                self._reference = None
        if self._reference is None:
            found = find_reference(self.task, self.settings, self._runtime.device_type)
            if found is None:
                self._probe = self._probe or probe_task(self.task, self.settings, self._runtime)
                found = compute_reference(self.task, self.settings, self._runtime, self._probe)
            self._reference = found
            self._checker = self._benchmark = None
        return self._reference

    def checker(self) -> Checker:
        """Return the checker of kernels."""
        reference = self.reference()
        if self._checker is None:
            self._checker = Checker(reference, self.task.tolerance)
        return self._checker

    def benchmark(self) -> SpeedupBenchmark:
        """Return the speedup benchmark of kernels."""
        checker = self.checker()
        if self._benchmark is None:
            self._benchmark = SpeedupBenchmark(self._runtime, checker, self.pool, self.settings, self._lock)
        return self._benchmark

    def evaluate(self, kernel: Kernel, artifact: Artifact, effort: Effort) -> ProtocolResult:
        laps, ledger = Laps(), Ledger()
        try:
            found = self._evaluate(kernel, artifact, effort, laps, ledger)
        except FailedError as error:
            found = ProtocolResult({}, failure=error.failure)
        except InterruptedJobError:
            self.pool.end()  # Its runners may have been interrupted while carrying out an order.
            raise
        notes = {"torch.compile": "eager"} if COMPILED in self.reference().skipped else {}
        return replace(found, seconds=laps.seconds, checks=ledger.checks(), notes=notes)

    def _evaluate(
        self, kernel: Kernel, artifact: Artifact, effort: Effort, laps: Laps, ledger: Ledger
    ) -> ProtocolResult:
        timing, best, main = effort.timing, effort.best, self.reference().main
        with (
            self.checked_kernel(kernel, artifact, timing.kernel_processes, laps, ledger) as checked_kernel,
            laps.lap("timing"),
        ):
            floor = self.settings.drop_below * best if best else None
            timed = [self.benchmark().time(kernel, checked_kernel.runners, main, timing, floor)]
            measurement = timed[0].measurement
            if best is not None and measurement.fitness > best:
                timed.append(self._measured_again(kernel, artifact, timing))
                measurement = _less_biased(measurement, timed[-1].measurement)
            variants = self.benchmark().time_variants(kernel, checked_kernel.runners, timing) if effort.variants else {}
            ledger.add(TIMED_CALLS, sum(m.rounds for m in (measurement, *(v.measurement for v in variants.values()))))
            aten = self.aten_share(checked_kernel.runners[0]) if effort.variants else None
        return ProtocolResult(
            laps.seconds,
            measurement=measurement,
            variants={name: each.measurement for name, each in variants.items()},
            aten=aten,
            fallback=checked_kernel.fallback,
            machine=tuple(each.machine for each in (*timed, *variants.values())),
        )

    @contextmanager
    def checked_kernel(
        self,
        kernel: Kernel,
        artifact: Artifact,
        runners: int,
        laps: Laps | None = None,
        ledger: Ledger | None = None,
    ) -> Iterator[CheckedKernel]:
        """Check a kernel, and yield it in runners that are ready to be timed.

        Args:
            kernel: The kernel.
            artifact: The result of compiling it.
            runners: The most runners that hold it.
            laps: The seconds of stages, which are added to.
            ledger: The ledger to which the checks are added.

        Raises:
            FailedError: The kernel is not correct.
        """
        checker, laps, ledger = self.checker(), laps or Laps(), ledger or Ledger()
        ledger.begin(self.reference())
        with ExitStack() as stack:
            with laps.lap("correctness"), self._lock.shared():
                changes = self.reference().main.later is not None
                first = stack.enter_context(self._loaded(kernel, artifact, 2 * changes, checked=True))
                fallback = checker.check(first, ledger)
                first.check_rule()
                if self.task.allow_aten is not AllowAten.ALL:
                    ledger.add(RULE)
                if changes:
                    first.build()
                more = self.benchmark().at_most(runners) - 1
                others = [stack.enter_context(self._loaded(kernel, artifact)) for _ in range(more)]
            yield CheckedKernel([first, *others], fallback)

    def aten_share(self, runner: Runner) -> AtenShare | None:
        """Return the share of a call on the main inputs that PyTorch's own operators take, or None if it cannot be measured."""
        main = self.reference().main
        runner.allow(self.settings.run_timeout)
        try:
            runner.lay_out(main.inputs, 1, main.nesting)
            runner.write(0, main.load())
            return runner.aten_share()
        except FailedError:
            return None

    @contextmanager
    def compiled_reference(self) -> Iterator[Runner]:
        """Yield a runner with the reference compiled by torch.compile, after its first call.

        Raises:
            FailedError: torch.compile failed or took too long.
        """
        main = self.reference().main
        once = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
        with self._spawned(2 * self.settings.memory_gb, once, trusted=True) as runner:
            runner.stage = "comparison"
            runner.allow(self.settings.compile_reference_timeout)
            runner.load_reference(self.task, compiled=True)
            runner.build()
            runner.lay_out(main.inputs, 1, main.nesting)
            runner.write(0, main.load())
            runner.call([0])
            yield runner

    def close(self) -> None:
        self.pool.end()

    def _loaded(self, kernel: Kernel, artifact: Artifact, spares: int = 0, *, checked: bool = False) -> Runner:
        """Return a runner that holds a kernel.

        It will be built up to `spares` further times. If it is `checked`, it can also be built with other parameters.
        """
        reference = self.reference()
        others = reference.other.parameters.model_dump() if checked and reference.other else None
        runner = self._spawned(self.settings.memory_gb, artifact.environment, trusted=False)
        try:
            runner.allow(check_seconds(reference.probe, self.settings, len(reference.cases)))
            runner.load_kernel(kernel.source, self.task, reference.init, others=others)
            runner.build(spares=spares)
        except BaseException:
            runner.end()
            raise
        return runner

    def _measured_again(self, kernel: Kernel, artifact: Artifact, timing: TimingSettings) -> TimedMeasurement:
        """Measure a kernel again, with new runners of both the kernel and the reference."""
        self.pool.end()
        with ExitStack() as stack:
            with self._lock.shared():
                count = self.benchmark().at_most(timing.kernel_processes)
                runners = [stack.enter_context(self._loaded(kernel, artifact)) for _ in range(count)]
            return self.benchmark().time(kernel, runners, self.reference().main, timing)

    def _spawned(self, memory_gb: float, environment: Mapping[str, str], *, trusted: bool) -> Runner:
        settings = self.settings
        timing = max(each.disturbed_factor * each.max_seconds for each in (settings.timing, settings.final))
        reference = self.reference()
        checks = check_seconds(reference.probe, settings, len(reference.cases))
        seconds = 3 * (checks + PATIENCE * timing)
        return self._runtime.spawn(
            self.benchmark().input_bytes,
            trusted=trusted,
            memory_gb=memory_gb,
            processor_seconds=self._runtime.threads * seconds + settings.compile_reference_timeout,
            environment=environment,
        )


def _less_biased(first: Measurement, again: Measurement) -> Measurement:
    """Return the second measurement, which is not biased by selection.

    If it has no speedup, return the one with the lower fitness, so that a search does not follow a lucky measurement.
    """
    return first if again.speedup is None and first.fitness < again.fitness else again
