"""The way of one kernel: source, compiling, correctness, timing. The first stage that fails ends it."""

from __future__ import annotations

import ast
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError

from devices.base import Artifact, CompileFailure, Device
from devices.cpu import usable_cores
from evaluators import tensors
from evaluators.client import ForkServer, Outcome, ServerDiedError, Stages
from evaluators.correctness import Mismatch, compare
from evaluators.gate import Gate
from evaluators.isolation import isolation_of
from evaluators.reference import Case, Reference, reference_of
from evaluators.reports import CaseReport, RunReport, TimingReport
from evaluators.scratch import disk_errors
from evaluators.settings import EvaluationSettings, TimingSettings
from evaluators.statistics import measurement
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Diagnosis, Evaluation, Measurement, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.task import Task, Tolerance

_R = TypeVar("_R", bound=Record)
_LONGEST_SOURCE = 1 << 20
_REPORT_BYTES = 1 << 16
_REPEAT = Tolerance(rtol=1e-3, atol=1e-4)


@dataclass(frozen=True)
class Failure:
    """A verdict other than ok."""

    status: Status
    stage: str
    summary: str
    details: str = ""


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    def lap(self, stage: str, begin: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begin


@dataclass(frozen=True)
class _Timed:
    """A kernel that is right, measured."""

    main: Measurement
    variants: dict[str, Measurement]


class Pipeline:
    """Judges kernels of one task on one device, one after the other. Owns a fork server; `close` it."""

    def __init__(self, task: Task, device: Device, settings: EvaluationSettings, build_dir: Path | None = None) -> None:
        self.task = task
        self.device = device
        self.settings = settings
        self.isolation = isolation_of(settings)
        self.threads = settings.threads or usable_cores()
        self.server = ForkServer(threads=self.threads, confined=settings.sandbox, readable=settings.readable)
        self.gate = Gate()
        with disk_errors(Path(tempfile.gettempdir()), "what is compiled"):
            self._own_builds = None if build_dir else tempfile.TemporaryDirectory(prefix="kernelevolve-build-")
        self.build_dir = build_dir or Path(self._own_builds.name if self._own_builds else "")
        self._reference: Reference | None = None
        self._reference_was_timed = False

    def warm(self) -> None:
        """Start the fork server and have the reference computed. Raises UserError where the task is at fault."""
        self.server.start()
        self.reference()

    def reference(self) -> Reference:
        """The task's data, computed again where it was removed: it lies where the system, or its user, may clear up."""
        if self._reference is not None:
            try:
                self._reference.touch()
            except FileNotFoundError:
                self._reference = None
        if self._reference is None:
            self._reference = self._again(lambda: reference_of(self.task, self.settings, self.server))
        return self._reference

    def _again(self, work: Any) -> Any:
        """Once more after the fork server died; then it is raised."""
        try:
            return work()
        except ServerDiedError:
            return work()

    def evaluate(self, kernel: Kernel, floor: float | None = None, *, variants: bool = False) -> Evaluation:
        """The verdict. `floor`: a speedup below which nobody cares how slow the kernel is exactly. `variants`: time them too.

        Raises UserError where the task is at fault, ServerDiedError or OSError where this machine is.
        """
        clock = _Clock()
        try:
            outcome = self._again(lambda: self._judge(kernel, floor, clock, variants))
        except ServerDiedError:
            self.check_reference(again=True)  # Raises where the server dies without this kernel too.
            outcome = Failure(Status.CRASHED, "integrity", "ended the process that judges it, twice")
        failed = isinstance(outcome, Failure)
        return Evaluation(
            kernel_id=kernel.id,
            task_id=self.task.id,
            device=self.device.name,
            status=outcome.status if failed else Status.OK,
            measurement=None if failed else outcome.main,
            variants={} if failed else outcome.variants,
            diagnosis=Diagnosis(stage=outcome.stage, summary=outcome.summary[:2000], details=outcome.details[:8000])
            if failed
            else None,
            seconds=clock.seconds,
            environment={
                "torch": torch.__version__,
                "python": platform.python_version(),
                "arch": self.device.arch(),
                "isolation": self.isolation,
                "threads": str(self.threads),
            },
        )

    def _judge(self, kernel: Kernel, floor: float | None, clock: _Clock, variants: bool) -> Failure | _Timed:
        begin = time.monotonic()
        failure = check_source(kernel.source)
        clock.lap("source", begin)
        if failure:
            return failure
        reference = self.reference()
        begin = time.monotonic()
        artifact = self.compile(kernel)
        clock.lap("compile", begin)
        if isinstance(artifact, Failure):
            return artifact
        begin = time.monotonic()
        failure = self._correct(kernel, artifact, reference)
        clock.lap("correctness", begin)
        if failure:
            return failure
        begin = time.monotonic()
        timing = self.settings.timing
        main = self._time(kernel, artifact, reference.cases[0], timing, self.settings.run_timeout, floor)
        further = self.time_variants(kernel, artifact, timing) if variants and not isinstance(main, Failure) else {}
        clock.lap("timing", begin)
        if isinstance(main, Failure):
            return main
        return further if isinstance(further, Failure) else _Timed(main, further)

    def time_variants(
        self, kernel: Kernel, artifact: Artifact, timing: TimingSettings
    ) -> Failure | dict[str, Measurement]:
        """Measurements of the task's further inputs by name; the verdict where the kernel fails in one of them."""
        reference = self.reference()
        limit = self.settings.run_timeout + 4 * timing.max_seconds
        found: dict[str, Measurement] = {}
        for case in reference.cases:
            if case.variant is None:
                continue
            timed = self._time(kernel, artifact, case, timing, limit, None)
            if isinstance(timed, Failure):
                return replace(timed, summary=f"variant {case.variant}: {timed.summary}")
            found[case.variant] = timed
        return found

    def compile(self, kernel: Kernel) -> Artifact | Failure:
        """What its toolchain makes of a kernel."""
        toolchain = self.device.toolchains().get(kernel.language)
        if toolchain is None:
            known = ", ".join(sorted(self.device.toolchains()))
            return Failure(Status.INVALID_SOURCE, "source", f"language {kernel.language}: this device compiles {known}")
        with self.gate.shared(), disk_errors(self.build_dir, "what is compiled"):
            made = toolchain.compile(kernel, self.build_dir, self.settings.compile_timeout)
        if isinstance(made, CompileFailure):
            return Failure(Status.COMPILE_ERROR, "compile", made.summary, made.details)
        return made

    def wait_for_room(self, cases: Sequence[Case], times: int) -> None:
        """For so many outputs of every case, of every judge: what fails for want of room later is the kernel's doing.

        Raises UserError where there is none for as long as a candidate may run.
        """
        reference = self.reference()
        need = times * self.settings.workers * sum(map(reference.output_bytes, cases)) + _REPORT_BYTES
        self.server.wait_for_room(need, self.settings.run_timeout)

    def _payload(self, kernel: Kernel, reference: Reference) -> dict[str, Any]:
        return {"task": self.task.model_dump_json(), "source": kernel.source, "data": str(reference.inputs)}

    def _correct(self, kernel: Kernel, artifact: Artifact, reference: Reference) -> Failure | None:
        payload = self._payload(kernel, reference) | {"cases": [c.name for c in reference.cases]}
        self.wait_for_room(reference.cases, 2)
        with self.server.job() as job, self.gate.shared():
            outcome = self.server.run(
                job,
                "candidate",
                payload,
                timeout=self.settings.run_timeout,
                memory_gb=self.settings.memory_gb,
                environment=artifact.environment,
            )
            failure = died(outcome, "correctness", self.settings.run_timeout)
            if failure:
                return failure
            report = reported(RunReport, outcome, "correctness")
            if isinstance(report, Failure):
                return report
            if report.reference is not None:
                return self.disturbed(report.reference, "correctness")
            told = {c.case: c for c in report.cases}
            raised = failure_of(report, "correctness")
            for case in reference.cases:
                if case.name not in told:
                    return raised or unreported(outcome, "correctness")
                failure = self._outputs(case, told[case.name], outcome.folder, reference)
                if failure:
                    return failure
        return raised

    def _outputs(
        self, case: Case, told: CaseReport, folder: Path, reference: Reference, stage: str = "correctness"
    ) -> Failure | None:
        label = (
            f"variant {case.variant}"
            if case.variant
            else ("inputs" if case.trial == 0 else f"inputs, seed {case.trial}")
        )
        out = told.out
        if len(out) != len(case.native) or told.structure != case.structure:
            return Failure(
                Status.WRONG_SHAPE,
                stage,
                f"{label}: returned {told.structure}, expected {case.structure}",
            )
        if told.changed:
            return Failure(Status.WRONG_RESULT, stage, f"{label}: input {told.changed[0]} was changed in place")
        for i, meta in enumerate(out):
            native, oracle = reference.answer(case, i)
            name = label if len(out) == 1 else f"{label}, output {i}"
            found = judged(meta, folder / f"{case.name}.out{i}", native, oracle, self.task.tolerance, name, stage)
            if found:
                return found
            again = told.again
            if again is not None:
                once = tensors.load(meta, folder / f"{case.name}.out{i}")
                twice = judged(
                    again[i] if i < len(again) else {},
                    folder / f"{case.name}.again{i}",
                    once,
                    once,
                    _REPEAT,
                    f"{name}, second call",
                    stage,
                )
                if twice:
                    return twice
        return None

    def _time(
        self,
        kernel: Kernel,
        artifact: Artifact,
        case: Case,
        timing: TimingSettings,
        limit: float,
        floor: float | None,
    ) -> Failure | Measurement:
        reference = self.reference()
        payload = self._payload(kernel, reference) | {
            "case": case.name,
            "timing": timing.model_dump(),
            "floor": floor,
        }
        self.wait_for_room([case], 1)
        with self.server.job() as job:
            limits = (self.settings.run_timeout, limit)
            outcome = self.server.run(
                job,
                "time",
                payload,
                timeout=limits[0],
                memory_gb=self.settings.memory_gb,
                environment=artifact.environment,
                then=Stages((limits[1],), self.gate, shared=True),
            )
            failure = died(outcome, "timing", limits[outcome.stage])
            if failure:
                if failure.status in {Status.TIMEOUT, Status.OUT_OF_MEMORY}:
                    self.check_reference()
                return failure
            report = reported(TimingReport, outcome, "timing")
            if isinstance(report, Failure):
                return report
            if report.reference is not None:
                return self.disturbed(report.reference, "timing")
            raised = failure_of(report, "timing")
            if raised:
                return raised
            samples = report.samples
            if not report.cases or samples is None:
                return unreported(outcome, "timing")
            failure = self._outputs(case, report.cases[0], outcome.folder, reference, "timing")
            if failure:
                return failure
            if not report.plausible(outcome.seconds, timing.max_rounds):
                return Failure(Status.CHEATING, "timing", "the times reported cannot have been measured in that time")
        return measurement(samples, derive_seed(self.settings.seed, "bootstrap", kernel.id, case.name))

    def disturbed(self, said: str, stage: str) -> Failure:
        """The verdict where the reference raised beside a candidate. Raises UserError where it does so alone too."""
        self.check_reference()
        return Failure(
            Status.RUNTIME_ERROR,
            stage,
            f"the reference raised {said} beside this kernel, and does not alone: the kernel changes what both use",
        )

    def check_reference(self, *, again: bool = False) -> None:
        """Time the reference alone, once or `again`, within the limits of a candidate. Raises UserError where that fails.

        A child that holds a candidate is no witness for what its reference did.
        """
        if self._reference_was_timed and not again:
            return
        reference, limit, memory = self.reference(), self.settings.run_timeout, self.settings.memory_gb
        payload = {
            "task": self.task.model_dump_json(),
            "source": None,
            "data": str(reference.inputs),
            "case": reference.cases[0].name,
            "timing": self.settings.timing.model_dump(),
        }
        then = Stages((limit,), self.gate, shared=True)
        with self.server.job() as job:
            outcome = self.server.run(job, "time", payload, timeout=limit, memory_gb=memory, environment={}, then=then)
        failure = died(outcome, "timing", limit)
        report = None if failure else reported(TimingReport, outcome, "timing")
        name = f"task {self.task.name}: the reference"
        if failure and failure.status is Status.TIMEOUT:
            raise UserError(f"{name} cannot be timed within {limit:g} s: raise evaluation.run_timeout")
        if failure and failure.status is Status.OUT_OF_MEMORY:
            raise UserError(f"{name} takes more than {memory:g} GB: raise evaluation.memory_gb")
        if isinstance(report, TimingReport) and report.reference is not None:
            raise UserError(f"{name} raised {report.reference}, when called several times")
        if failure or not isinstance(report, TimingReport):
            raise UserError(f"{name} cannot be timed: {failure.summary if failure else 'it wrote no result'}")
        self._reference_was_timed = True

    def close(self) -> None:
        self.server.close()
        if self._own_builds is not None:
            self._own_builds.cleanup()


def check_source(source: str) -> Failure | None:
    """What can be told without running anything."""
    if not source.strip():
        return Failure(Status.INVALID_SOURCE, "source", "the file is empty")
    if len(source) > _LONGEST_SOURCE:
        return Failure(Status.INVALID_SOURCE, "source", f"the file is longer than {_LONGEST_SOURCE} characters")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        return Failure(Status.INVALID_SOURCE, "source", f"no valid Python{f', line {line}' if line else ''}: {error}")
    bound = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.name]
            if isinstance(node, ast.ClassDef)
            else [t.id for t in node.targets if isinstance(t, ast.Name)]
            if isinstance(node, ast.Assign)
            else [a.asname or a.name for a in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    if "ModelNew" not in bound:
        return Failure(Status.INVALID_SOURCE, "source", "the file defines no class ModelNew")
    return None


def died(outcome: Outcome, stage: str, limit: float) -> Failure | None:
    """The verdict on a child that did not end as it should."""
    tail = outcome.output[-2000:]
    if outcome.timeout:
        return Failure(Status.TIMEOUT, stage, f"not done after {limit:g} s", tail)
    if outcome.out_of_memory:
        return Failure(Status.OUT_OF_MEMORY, stage, "more memory than it may have", tail)
    if outcome.signal == 24:
        return Failure(Status.TIMEOUT, stage, "more processor time than it may have", tail)
    if outcome.signal:
        return Failure(Status.CRASHED, stage, f"ended by {outcome.signal_name}", tail)
    if outcome.result is None:
        return Failure(Status.CRASHED, stage, f"ended with code {outcome.code} before its result was written", tail)
    return None


def reported(kind: type[_R], outcome: Outcome, stage: str) -> _R | Failure:
    """What the child reports, or the verdict where it is not even well formed: foreign code can have written it."""
    try:
        return kind.model_validate(outcome.result)
    except ValidationError:
        return Failure(Status.CRASHED, stage, "the result is not what a run writes", outcome.output[-2000:])


def unreported(outcome: Outcome, stage: str) -> Failure:
    return Failure(Status.CRASHED, stage, "the run ended without a result", outcome.output[-2000:])


def failure_of(report: RunReport, stage: str) -> Failure | None:
    """What the child itself reports about the candidate."""
    told = report.failure
    return None if told is None else Failure(told.status, stage, told.summary or "no message", told.details)


def judged(
    meta: Any, path: Path, native: torch.Tensor, oracle: torch.Tensor, tolerance: Tolerance, label: str, stage: str
) -> Failure | None:
    """Compare a tensor that a child wrote."""
    try:
        candidate = tensors.load(meta, path)
    except (ValueError, KeyError, TypeError, OSError) as error:
        return Failure(Status.CRASHED, stage, f"{label}: the output could not be read back: {error}")
    if not isinstance(candidate, torch.Tensor):
        return Failure(Status.WRONG_SHAPE, stage, f"{label}: no tensor")
    found: Mismatch | None = compare(candidate, native, oracle, tolerance, label)
    return Failure(found.status, stage, found.summary, found.details) if found else None
