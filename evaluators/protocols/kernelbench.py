"""The KernelBench protocol, for results that can be compared with published ones.

It does what `eval_kernel_against_ref` in KernelBench's src/kernelbench/eval.py does when its scripts call it (Ouyang et al. 2025,
"KernelBench: Can LLMs Write Efficient GPU Kernels?"). There are several trials, each on inputs drawn with a seed of its own, in which
results are compared with PyTorch's by `torch.allclose`. Then the mean time of calls on one set of inputs with cold caches is measured, of
the kernel first and of the reference afterwards. Kernels run in the sandbox, and the clock is the runtime's. docs/evaluation.md lists the
other differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch

from devices.base import Artifact
from evaluators.correctness.ledger import TRIALS, Ledger
from evaluators.correctness.reference.probe import slowness
from evaluators.correctness.reference.store import probe_in
from evaluators.protocols.base import Effort, EvaluationProtocol, Laps, ProtocolResult, signature_of
from evaluators.protocols.kernelbench_rules import difference, ratio_of_means
from evaluators.runtime.base import DrawnInputs, Returned, Runner, Runtime, TimedBlock
from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.layout import layout_of
from evaluators.settings import EvaluationSettings, TimingSettings
from evaluators.timing.machine_noise import why_not
from evaluators.timing.repeating import undisturbed
from evaluators.timing.statistics import drop_imprecise_speedup
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import MachineState, Measurement, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.signature import Signature
from kernelevolve.core.task import Task

_OVERHEADS = 5
"""The number of empty blocks by which the overhead of a block is measured."""
_FILL = 42
"""The value that is written to flush the caches."""
Times = tuple[list[float], list[float]]
"""The seconds of each call of the reference, and of each call of the kernel."""


@dataclass(frozen=True)
class _Prepared:
    """The facts about a task that evaluations need."""

    init: Sequence[Mapping[str, object]] | None
    """The encoded arguments of the constructor, or None if they cannot be encoded."""
    input_bytes: int
    """The bytes of memory that the largest set of inputs takes."""
    signature: Signature
    """The signature of the task's calls."""


class KernelBenchProtocol(EvaluationProtocol):
    """The KernelBench protocol for one task on one runtime."""

    def __init__(self, task: Task, settings: EvaluationSettings, runtime: Runtime, lock: DeviceLock) -> None:
        self._task = task
        self._settings = settings
        self._rules = settings.kernelbench
        self._runtime = runtime
        self._lock = lock
        self._announced: str | None = None
        self._prepared: _Prepared | None = None

    def announce(self, timing: TimingSettings) -> str:
        if self._announced is None:
            with self._lock.shared(), ExitStack() as stack:
                runner = stack.enter_context(self._spawned(0, trusted=True))
                setting = "evaluation.kernelbench.timeout"
                found = probe_in(runner, self._task, self._rules.timeout, setting, self._runtime.device_type)
            self._announced = slowness(self._task, found, self._settings, timing, prepared=True)
        return self._announced

    def prepare(self) -> None:
        self._ready()

    def signature(self) -> Signature:
        return self._ready().signature

    def trial_seeds(self) -> list[int]:
        """Return the seeds of the trials, drawn as KernelBench draws them."""
        generator = torch.Generator().manual_seed(self._rules.seed)
        return [int(torch.randint(0, 2**32 - 1, (1,), generator=generator).item()) for _ in range(self._rules.trials)]

    def evaluate(self, kernel: Kernel, artifact: Artifact, effort: Effort) -> ProtocolResult:
        """Evaluate a kernel, which must pass every trial. `effort` is ignored, since KernelBench prescribes the effort."""
        del effort
        laps, ledger = Laps(), Ledger()
        try:
            measurement, machine = self._evaluate(kernel, artifact, laps)
        except FailedError as error:
            return ProtocolResult(laps.seconds, failure=error.failure, checks=ledger.checks())
        ledger.add(TRIALS, self._rules.trials)
        found = ProtocolResult(laps.seconds, measurement=measurement, checks=ledger.checks(), machine=(machine,))
        most = self._rules.excessive_speedup
        if measurement.fitness <= most:
            return found
        return replace(found, notes={"excessive_speedup": f"above {most:g}x"})

    def close(self) -> None:
        """Do nothing: no runners are kept."""

    def _ready(self) -> _Prepared:
        """Draw all inputs once to find how much memory they take. Raises UserError if the task is at fault."""
        if self._prepared is None:
            self.announce(self._settings.timing)
            with self._lock.shared(), ExitStack() as stack:
                runner = self._reference(stack, 0)
                try:
                    drawn = [runner.draw(seed) for seed in (self._rules.seed, *self.trial_seeds())]
                except FailedError as error:
                    raise self._at_fault(error.failure) from error
            room = max(layout_of(one.inputs, 1, one.structure).total_bytes for one in drawn)
            self._prepared = _Prepared(drawn[0].init, room, signature_of([drawn[0].inputs]))
        return self._prepared

    def _evaluate(self, kernel: Kernel, artifact: Artifact, laps: Laps) -> tuple[Measurement, MachineState]:
        prepared, settings = self._ready(), self._settings
        with ExitStack() as stack:
            with laps.lap("correctness"), self._lock.shared():
                reference = self._reference(stack, prepared.input_bytes)
                runner = self._kernel(stack, kernel, artifact, prepared)
                outputs = self._check(reference, runner)
            with laps.lap("timing"), self._lock.exclusive(), self._runtime.alone():
                runner.stage = "timing"
                (reference_times, kernel_times), machine = undisturbed(
                    self._runtime,
                    lambda: self._time(reference, runner, outputs),
                    settings.disturbed_above,
                    self._rules.repeats,
                )
        seed = derive_seed(settings.seed, "bootstrap", kernel.id)
        measurement = Measurement(
            speedup=ratio_of_means(reference_times, kernel_times, seed),
            reference_seconds=float(np.mean(reference_times)),
            kernel_seconds=float(np.mean(kernel_times)),
            rounds=len(kernel_times),
        )
        return drop_imprecise_speedup(measurement, why_not(machine)), machine

    def _reference(self, stack: ExitStack, input_bytes: int) -> Runner:
        """Return a runner with a new model of the reference. Raises UserError if it cannot be built."""
        runner = stack.enter_context(self._spawned(input_bytes, trusted=True))
        try:
            runner.load_reference(self._seeded(), precision=self._rules.precision)
            runner.build()
        except FailedError as error:
            raise self._at_fault(error.failure) from error
        return runner

    def _kernel(self, stack: ExitStack, kernel: Kernel, artifact: Artifact, prepared: _Prepared) -> Runner:
        runner = stack.enter_context(self._spawned(prepared.input_bytes, artifact.environment, trusted=False))
        runner.load_kernel(kernel.source, self._seeded(), prepared.init, precision=self._rules.precision)
        runner.build()
        return runner

    def _seeded(self) -> Task:
        return self._task.model_copy(update={"seed": self._rules.seed})

    def _spawned(self, input_bytes: int, environment: Mapping[str, str] | None = None, *, trusted: bool) -> Runner:
        runner = self._runtime.spawn(
            input_bytes,
            trusted=trusted,
            memory_gb=None if trusted else self._settings.memory_gb,
            processor_seconds=2 * self._runtime.threads * self._rules.timeout,
            environment=environment,
        )
        runner.allow(self._rules.timeout)
        return runner

    def _lay_out(self, seed: int, reference: Runner, runner: Runner) -> None:
        """Draw inputs and write them to both runners. Raises UserError if the task is at fault."""
        try:
            drawn = reference.draw(seed)
            _give(drawn, reference)
        except FailedError as error:
            raise self._at_fault(error.failure) from error
        _give(drawn, runner)

    def _called(self, reference: Runner) -> Returned:
        try:
            return reference.call([0])[0]
        except FailedError as error:
            raise self._at_fault(error.failure) from error

    def _check(self, reference: Runner, runner: Runner) -> int:
        """Run all trials, since KernelBench does not stop at the first one that differs. Return the number of outputs."""
        tolerance = self._rules.tolerance[self._rules.precision]
        differ: list[tuple[float, float]] = []
        outputs = 0
        for seed in self.trial_seeds():
            self._lay_out(seed, reference, runner)
            expected, got = self._called(reference), runner.call([0])[0]
            outputs = len(expected.outputs)
            _check_form(expected, got)
            found = [
                difference(reference.read(a), runner.read(b), tolerance)
                for a, b in zip(expected.outputs, got.outputs, strict=True)
            ]
            differ += [max(each for each in found if each is not None)] if any(found) else []
        runner.check_rule()
        if differ:
            most, mean = max(differ)
            raise failed(
                Status.WRONG_RESULT,
                runner.stage,
                f"{len(differ)} of {self._rules.trials} trials differ: by {most:.6f} at most, by {mean:.6f} on average",
                f"torch.allclose(PyTorch's result, the kernel's, atol={tolerance:g}, rtol={tolerance:g}) is false",
            )
        return outputs

    def _time(self, reference: Runner, runner: Runner, outputs: int) -> Times:
        """Time the kernel's calls and then the reference's, all on the same inputs."""
        reference.allow(self._rules.timeout)
        runner.allow(self._rules.timeout)
        self._lay_out(self._rules.seed, reference, runner)
        flushed = torch.empty(max(1, (self._rules.flush_mb << 20) // 8), dtype=torch.int64)
        kernel_times = self._calls(runner, outputs, flushed)
        runner.check_rule()
        try:
            return self._calls(reference, outputs, flushed), kernel_times
        except FailedError as error:
            raise self._at_fault(error.failure) from error

    def _calls(self, runner: Runner, outputs: int, flushed: torch.Tensor) -> list[float]:
        """Return the seconds of each timed call that counts."""
        rules, runtime = self._rules, self._runtime
        for _ in range(rules.warmup_calls):
            runner.call([0])
        overhead = min(runtime.run_one(TimedBlock(runner, 0, outputs)) for _ in range(_OVERHEADS))
        seconds = []
        for _ in range(rules.discarded_calls + rules.timed_calls):
            flushed.fill_(_FILL)
            seconds.append(max(runtime.run_one(TimedBlock(runner, 1, outputs)) - overhead, 1e-9))
        return seconds[rules.discarded_calls :]

    def _at_fault(self, failure: Failure) -> UserError:
        name = f"task {self._task.name}"
        match failure.status:
            case Status.TIMEOUT:
                return UserError(
                    f"{name}: the reference is not done after {self._rules.timeout:g} s: "
                    "raise evaluation.kernelbench.timeout"
                )
            case Status.OUT_OF_MEMORY:
                return UserError(f"{name}: it does not fit in memory; make the inputs smaller")
            case _:
                why = failure.summary.removeprefix(f"{name}: ")
                return UserError(f"{name}: the reference cannot be evaluated by KernelBench's rules: {why}")


def _give(drawn: DrawnInputs, runner: Runner) -> None:
    runner.lay_out(drawn.inputs, 1, drawn.structure)
    runner.write(0, drawn.values)


def _check_form(expected: Returned, got: Returned) -> None:
    if len(got.outputs) != len(expected.outputs):
        raise failed(Status.WRONG_SHAPE, "correctness", f"returned {got.structure}, expected {expected.structure}")
    for a, b in zip(expected.outputs, got.outputs, strict=True):
        if a.shape != b.shape:
            raise failed(Status.WRONG_SHAPE, "correctness", f"shape {b.shape}, expected {a.shape}")
        if a.dtype != b.dtype:
            raise failed(Status.WRONG_SHAPE, "correctness", f"{b.dtype}, expected {a.dtype}")
