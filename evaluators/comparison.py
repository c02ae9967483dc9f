"""The last measurement: the finalists, eager PyTorch and torch.compile, interleaved in one process.

Where one of them ends that process, or spoils it, each finalist is measured in a process of its own, again against eager and
torch.compile: only what fails there is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from devices.base import Artifact, Device
from evaluators.client import ServerDiedError, Stages
from evaluators.pipeline import Failure, Pipeline, died, judged, reported
from evaluators.reports import ComparisonReport
from evaluators.settings import EvaluationSettings
from evaluators.statistics import ratio_interval
from kernelevolve.core.evaluation import Measurement, Ratio, Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.task import Task


class Finalist(Record):
    """One kernel against both references."""

    kernel_id: str
    over_eager: Measurement
    over_compile: Ratio | None
    variants: Mapping[str, Measurement] = {}
    """Over eager, of the task's further inputs by name: of the best finalist only."""


class Comparison(Record):
    """What the last measurement found; `finalists` best first, without those that failed in it."""

    finalists: tuple[Finalist, ...]
    failures: Mapping[str, str]
    """Kernel id -> why it is not among the finalists."""
    compile_over_eager: Ratio | None
    compile_note: str
    """How torch.compile went; why not, where it did not."""


def compare_finalists(
    task: Task, kernels: Sequence[Kernel], device: Device, settings: EvaluationSettings, *, with_compile: bool
) -> Comparison:
    """Measure the main inputs precisely, and the variants of the best. Raises UserError where the task is at fault."""
    with closing(Pipeline(task, device, settings)) as pipeline:
        return _compare(pipeline, kernels, with_compile)


Times = Mapping[str, Sequence[float]]
"""Seconds per call by name (`eager`, `compile`, kernel ids), one for each round."""


def _compare(pipeline: Pipeline, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
    failures: dict[str, str] = {}
    built: dict[str, tuple[Kernel, Artifact]] = {}
    for kernel in kernels:
        made = pipeline.compile(kernel)
        if isinstance(made, Failure):
            failures[kernel.id] = made.summary
        else:
            built[kernel.id] = kernel, made
    stopwatch = _Stopwatch(pipeline, with_compile)
    times, failed = stopwatch.measure_all(built)
    failures |= failed
    found = [_finalist(pipeline.settings, name, taken) for name, taken in times.items()]
    found.sort(key=lambda finalist: -finalist.over_eager.speedup.value)
    found = _with_variants(pipeline, found, built, failures)
    baseline = None
    if found and "compile" in times[found[0].kernel_id]:
        first = times[found[0].kernel_id]
        seed = derive_seed(pipeline.settings.seed, "final", "compile")
        baseline = ratio_interval(first["eager"], first["compile"], seed)
    return Comparison(
        finalists=tuple(found), failures=failures, compile_over_eager=baseline, compile_note=stopwatch.compile_note
    )


def _finalist(settings: EvaluationSettings, name: str, times: Times) -> Finalist:
    seed = derive_seed(settings.seed, "final", name)
    return Finalist(
        kernel_id=name,
        over_eager=Measurement(
            speedup=ratio_interval(times["eager"], times[name], seed),
            reference_seconds=float(np.median(times["eager"])),
            kernel_seconds=float(np.median(times[name])),
            rounds=len(times[name]),
        ),
        over_compile=ratio_interval(times["compile"], times[name], seed) if "compile" in times else None,
    )


def _with_variants(
    pipeline: Pipeline,
    found: Sequence[Finalist],
    built: Mapping[str, tuple[Kernel, Artifact]],
    failures: dict[str, str],
) -> list[Finalist]:
    """The finalists from the first on that every variant can be timed of; what fails is noted."""
    final = pipeline.settings.final
    count = sum(case.variant is not None for case in pipeline.reference().cases)
    timing = final.model_copy(update={"max_seconds": final.max_seconds / max(1, count)})
    for place, finalist in enumerate(found):
        timed = pipeline.time_variants(*built[finalist.kernel_id], timing)
        if not isinstance(timed, Failure):
            return [finalist.model_copy(update={"variants": timed}), *found[place + 1 :]]
        failures[finalist.kernel_id] = timed.summary
    return []


@dataclass
class _Stopwatch:
    """Measures in children; without torch.compile from the first time on that it failed."""

    pipeline: Pipeline
    with_compile: bool
    compile_note: str = field(init=False)

    def __post_init__(self) -> None:
        self.compile_note = "not measured" if self.with_compile else "not asked for"

    def measure_all(self, built: Mapping[str, tuple[Kernel, Artifact]]) -> tuple[dict[str, Times], dict[str, str]]:
        """(times by kernel id, failures by kernel id). Raises UserError where the reference cannot be timed."""
        if not built:
            return {}, {}
        together = self._measure(built)
        times: dict[str, Times] = {}
        failures: dict[str, str] = {}
        for name, kernel in built.items():
            taken = together
            if isinstance(together, Failure) and len(built) > 1:
                taken = self._measure({name: kernel})
            if not isinstance(taken, Failure):
                wrong = taken.wrong.get(name)
                if wrong is None:
                    times[name] = taken.times
                else:
                    failures[name] = wrong
            else:
                failures[name] = taken.summary
        if not times:
            self.pipeline.check_reference(again=True)
        return times, failures

    def _measure(self, built: Mapping[str, tuple[Kernel, Artifact]]) -> _Taken | Failure:
        """Of all of these in one child."""
        settings = self.pipeline.settings
        reference = self.pipeline.reference()
        payload = {
            "task": self.pipeline.task.model_dump_json(),
            "data": str(reference.inputs),
            "case": reference.cases[0].name,
            "timing": settings.final.model_dump(),
            "kernels": {name: kernel.source for name, (kernel, _) in built.items()},
            "compile": self.with_compile,
        }
        loading = settings.run_timeout * (len(built) + 1)
        measuring = settings.run_timeout * (len(built) + 1) + 3 * settings.final.max_seconds
        limits = [loading, measuring]
        environment = {key: value for _, artifact in built.values() for key, value in artifact.environment.items()}
        if self.with_compile:
            limits = [settings.compile_reference_timeout, *limits]
            environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        self.pipeline.wait_for_room(reference.cases[:1], len(built))
        with self.pipeline.server.job() as job:
            # Kernels are loaded into the same process: what they could write to is thrown away with it.
            environment["TORCHINDUCTOR_CACHE_DIR"] = str(job.folder / "inductor")
            try:
                outcome = self.pipeline.server.run(
                    job,
                    "compare",
                    payload,
                    timeout=limits[0],
                    memory_gb=2 * settings.memory_gb,
                    environment=environment,
                    then=Stages(tuple(limits[1:]), self.pipeline.gate),
                )
            except ServerDiedError:
                return Failure(Status.CRASHED, "comparison", "ended the process that measures it")
            failed = died(outcome, "comparison", limits[outcome.stage])
            if failed and self.with_compile and outcome.stage == 0:
                return self._without_compile(built, failed.summary)
            report = failed or reported(ComparisonReport, outcome, "comparison")
            if isinstance(report, Failure):
                return report
            if report.compiling.failure is not None and self.with_compile:
                return self._without_compile(built, report.compiling.failure)
            if report.reference is not None:
                return self.pipeline.disturbed(report.reference, "comparison")
            if report.failure is not None:
                return Failure(report.failure.status, "comparison", report.failure.summary, report.failure.details)
            names = {"eager", *built, *(("compile",) if self.with_compile else ())}
            if not report.plausible(names, outcome.seconds, settings.final.max_rounds):
                return Failure(
                    Status.CHEATING, "comparison", "the times reported cannot have been measured in that time"
                )
            if self.with_compile:
                self.compile_note = report.compiling.note
            wrong = {name: self._wrong(report, outcome.folder, name) for name in built}
            return _Taken(report.times, {name: why for name, why in wrong.items() if why})

    def _without_compile(self, built: Mapping[str, tuple[Kernel, Artifact]], why: str) -> _Taken | Failure:
        self.with_compile = False
        self.compile_note = f"torch.compile failed: {why}"
        return self._measure(built)

    def _wrong(self, report: ComparisonReport, folder: Path, name: str) -> str | None:
        """Why the outputs of the timed calls are not the result."""
        reference = self.pipeline.reference()
        case = reference.cases[0]
        described = report.outputs.get(name, ())
        if len(described) != len(case.native):
            return "another number of outputs in the timed calls"
        for i, meta in enumerate(described):
            native, oracle = reference.answer(case, i)
            path = folder / f"{name}.out{i}"
            found = judged(meta, path, native, oracle, self.pipeline.task.tolerance, "a timed call", "comparison")
            if found:
                return found.summary
        return None


@dataclass(frozen=True)
class _Taken:
    """What one child measured."""

    times: Times
    wrong: Mapping[str, str]
    """Kernel id -> why its outputs are wrong."""
