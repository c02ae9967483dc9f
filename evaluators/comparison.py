"""The last measurement: the finalists, eager PyTorch and torch.compile, interleaved in one process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from devices.base import CompileFailure, Device
from evaluators import tensors
from evaluators.correctness import compare
from evaluators.pipeline import Pipeline, died
from evaluators.settings import EvaluationSettings
from evaluators.statistics import ratio_interval
from kernelevolve.core.evaluation import Measurement, Ratio
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed
from kernelevolve.core.task import Task


class Finalist(Record):
    """One kernel against both references."""

    kernel_id: str
    over_eager: Measurement
    over_compile: Ratio | None


class Comparison(Record):
    """What the last measurement found; `finalists` best first, without those that failed in it."""

    finalists: tuple[Finalist, ...]
    failures: Mapping[str, str]
    """Kernel id -> why it is not among the finalists."""
    compile_over_eager: Ratio | None
    compile_note: str
    """How torch.compile went; why not, where it did not."""


class ComparisonError(RuntimeError):
    """The measurement itself could not be made."""


def compare_finalists(
    task: Task, kernels: Sequence[Kernel], device: Device, settings: EvaluationSettings, *, with_compile: bool
) -> Comparison:
    """Measure the main inputs precisely. Raises ComparisonError, or UserError where the task is at fault."""
    with tempfile.TemporaryDirectory(prefix="kernelevolve-build-") as folder:
        pipeline = Pipeline(task, device, settings, Path(folder))
        try:
            return _compare(pipeline, kernels, with_compile)
        finally:
            pipeline.close()


def _compare(pipeline: Pipeline, kernels: Sequence[Kernel], with_compile: bool) -> Comparison:
    settings = pipeline.settings
    reference = pipeline.reference()
    environment: dict[str, str] = {}
    failures: dict[str, str] = {}
    sources: dict[str, str] = {}
    for kernel in kernels:
        toolchain = pipeline.device.toolchains()[kernel.language]
        made = toolchain.compile(kernel, pipeline.build_dir, settings.compile_timeout)
        if isinstance(made, CompileFailure):
            failures[kernel.id] = made.summary
        else:
            environment.update(made.environment)
            sources[kernel.id] = kernel.source
    case = reference.cases[0]
    timeout = settings.run_timeout + 3 * settings.final.max_seconds
    payload = {
        "task": pipeline.task.model_dump_json(),
        "data": str(reference.inputs),
        "case": case.name,
        "timing": settings.final.model_dump(),
        "kernels": sources,
        "compile": with_compile,
    }
    if with_compile:
        timeout += settings.compile_reference_timeout
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / "kernelevolve-inductor")
    with pipeline.server.job() as job:
        with pipeline.gate.exclusive():
            outcome = pipeline.server.run(
                job, "compare", payload, timeout=timeout, memory_gb=2 * settings.memory_gb, environment=environment
            )
        failed = died(outcome, "comparison", timeout)
        if failed or outcome.result is None:
            if with_compile:
                plain = _compare(pipeline, kernels, False)
                note = failed.summary if failed else "no result"
                return plain.model_copy(update={"compile_note": f"with torch.compile the measurement failed: {note}"})
            raise ComparisonError(f"{failed.summary if failed else 'no result'}: {outcome.output[-500:]}")
        result = outcome.result
        times: dict[str, list[float]] = {name: [float(v) for v in values] for name, values in result["times"].items()}
        failures |= {name: str(told["summary"]) for name, told in result["failures"].items()}
        found: list[Finalist] = []
        for name in sources:
            if name not in times:
                continue
            wrong = _wrong(pipeline, result["outputs"][name], outcome.folder, name)
            if wrong:
                failures[name] = wrong
                continue
            seed = derive_seed(settings.seed, "final", name)
            found.append(
                Finalist(
                    kernel_id=name,
                    over_eager=Measurement(
                        speedup=ratio_interval(times["eager"], times[name], seed),
                        reference_seconds=float(np.median(times["eager"])),
                        kernel_seconds=float(np.median(times[name])),
                        rounds=len(times[name]),
                    ),
                    over_compile=ratio_interval(times["compile"], times[name], seed) if "compile" in times else None,
                )
            )
    found.sort(key=lambda f: -f.over_eager.speedup.value)
    seed = derive_seed(settings.seed, "final", "compile")
    baseline = ratio_interval(times["eager"], times["compile"], seed) if "compile" in times else None
    note = str(result["note"]) if with_compile else "not asked for"
    return Comparison(finalists=tuple(found), failures=failures, compile_over_eager=baseline, compile_note=note)


def _wrong(pipeline: Pipeline, described: Sequence[dict[str, object]], folder: Path, name: str) -> str | None:
    """Why the outputs of the timed calls are not the result."""
    reference = pipeline.reference()
    case = reference.cases[0]
    if len(described) != len(case.native):
        return "another number of outputs in the timed calls"
    for i, meta in enumerate(described):
        native, oracle = reference.answer(case, i)
        candidate = tensors.load(meta, folder / f"{name}.out{i}")
        found = compare(candidate, native, oracle, pipeline.task.tolerance, "a timed call")
        if found:
            return found.summary
    return None
