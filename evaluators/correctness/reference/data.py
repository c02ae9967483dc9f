"""The data of a task on this machine: inputs and right answers of every case, computed once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from evaluators.correctness.inputs.checks import (
    COMPILED,
    NONFINITE_VALUES,
    OTHER_PARAMETERS,
    OWN,
    SHAPES,
    VALUES,
    VARIANTS,
)
from evaluators.correctness.reference.probe import Probe, leak
from evaluators.correctness.uncertainty import Doubt
from evaluators.folders import private_folder
from evaluators.runtime import tensors
from evaluators.runtime.base import Runner, Runtime
from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.parameters import OtherParameters
from evaluators.scratch import disk_errors, full, scratch_base
from evaluators.settings import EvaluationSettings
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.record import content_id
from kernelevolve.core.task import Task
from kernelevolve.tasks.structure import Plain, Structure

MANIFEST = "manifest.json"
"""The file that describes what lies beside it."""
_FORMAT = "37"
_EAGER = "what the task has torch.compile compile is given back as it is: PyTorch runs it, and it is timed, without being compiled"
JOB = "evaluators.correctness.reference.job:ReferenceJob"
_KEPT_SECONDS = 6 * 3600.0
_IN_USE_SECONDS = 60.0
_KEPT_SHARE = 0.125
"""Of the memory of the machine, that data of tasks may take; what was not looked at for the longest time goes first."""


@dataclass(frozen=True)
class ReferenceOutputs:
    """PyTorch's own results and the float64 oracle, in files that no candidate can read."""

    folder: Path
    prefix: str
    native: tuple[Mapping[str, Any], ...]
    """Tensors, as `tensors.comparable` makes them, then plain numbers with a fraction, as tensors."""
    oracle: tuple[Mapping[str, Any], ...] | None
    """None where results are exact, or the reference does not run in float64."""
    structure: str
    """As `structure.described` tells it."""
    forms: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """(dtype, shape) of each tensor, as it was returned."""
    values: tuple[Plain, ...] = ()
    """Plain results."""
    doubts: tuple[Mapping[str, Any], ...] = ()
    """`typical`, `rms`, and files of `places` and `values`, of each result: the fields of `Doubt`."""
    fresh: tuple[bool, ...] = ()
    """Whether each tensor lay in memory of its own."""
    roundings: int = 0
    """How many further roundings of every operation `doubts` rest on."""
    _mapped: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, compare=False, repr=False)

    def output(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(PyTorch's own result, oracle) of one output: the files, mapped once. Not to be written to."""
        if position not in self._mapped:
            native = tensors.load(self.native[position], self.folder / f"{self.prefix}native{position}")
            oracle = native
            if self.oracle is not None:
                oracle = tensors.load(self.oracle[position], self.folder / f"{self.prefix}oracle{position}")
            self._mapped[position] = native, oracle
        return self._mapped[position]

    def doubt(self, position: int) -> Doubt:
        """How far rounding alone moves one output. Not to be written to."""
        told = self.doubts[position]
        if "places" not in told:
            return Doubt(typical=told["typical"], rms=told["rms"])
        places, values = (
            tensors.load(told[name], self.folder / f"{self.prefix}{name}{position}") for name in ("places", "values")
        )
        return Doubt(places, values, told["typical"], told["rms"])


@dataclass(frozen=True)
class Effects:
    """Inputs that the reference changes in place, and what they hold afterwards."""

    positions: tuple[int, ...]
    answers: ReferenceOutputs


@dataclass(frozen=True)
class Later:
    """Results in evaluation mode after some calls, of a model that these change."""

    steps: int
    answers: ReferenceOutputs


@dataclass(frozen=True)
class Other:
    """Results on the main inputs of a model with other parameters."""

    parameters: OtherParameters
    answers: ReferenceOutputs


@dataclass(frozen=True)
class Case:
    """One set of inputs with its right answers."""

    name: str
    variant: str | None
    trial: int
    label: str
    """For people."""
    folder: Path
    inputs: tuple[Mapping[str, Any], ...]
    """Leaves of the arguments."""
    nesting: Structure
    """Of the list of arguments."""
    draws: int
    """Sets of values of the same shapes that timed calls get; the first is the one that the answers are for."""
    answers: ReferenceOutputs
    effects: Effects | None
    """None where the reference leaves its inputs as they are."""
    later: Later | None
    check: str
    """The check that it belongs to."""
    _mapped: dict[int, list[Any]] = field(default_factory=dict, compare=False, repr=False)

    def load(self, draw: int = 0) -> list[Any]:
        """The leaves of the arguments of forward: the files, mapped once. Not to be written to."""
        if draw not in self._mapped:
            self._mapped[draw] = [
                tensors.load(m, self.folder / f"{self.name}.draw{draw}.in{i}") for i, m in enumerate(self.inputs)
            ]
        return self._mapped[draw]


@dataclass(frozen=True)
class Reference:
    """A task's data on disk."""

    folder: Path
    cases: tuple[Case, ...]
    notes: tuple[str, ...]
    """What was derived from the task's inputs and why not more, in words."""
    left_out: Mapping[str, Sequence[str]]
    """By what a check looks at: derived inputs that it does without, and why."""
    overtime: frozenset[str]
    """Checks of which something was left out because time ran out."""
    other: Other | None
    """None where the reference has no parameters, or no results with others by which kernels can be judged."""
    init: Sequence[Mapping[str, Any]] | None
    """Arguments of the constructor as `tensors.encode` writes them; None where they cannot be written."""
    probe: Probe

    @property
    def main(self) -> Case:
        return self.cases[0]

    @property
    def variants(self) -> dict[str, Case]:
        return {case.variant: case for case in self.cases if case.variant is not None}

    def touch(self) -> None:
        """Keep the data from being forgotten. Raises FileNotFoundError where it is gone."""
        os.utime(self.folder)


def data_folder() -> Path:
    base = scratch_base()
    with disk_errors(base, "a folder"):
        return private_folder(base, "kernelevolve-data")


def find_reference(task: Task, settings: EvaluationSettings) -> Reference | None:
    """The reference data of a task that was computed before; None where there is none, or where time ran out for some of it."""
    folder = _folder(task, _wanted(settings))
    try:
        found = read_reference(folder)
        found.touch()
    except FileNotFoundError:
        return None
    return None if found.overtime else found


def compute_reference(task: Task, settings: EvaluationSettings, runtime: Runtime, probe: Probe) -> Reference:
    """Compute the reference data of a task, of which `probe` was found.

    Raises UserError, one line, where the task is at fault: it raises, returns no tensors, is not deterministic, does not fit.
    """
    wanted = _wanted(settings)
    folder = _folder(task, wanted)
    _compute(task, settings, wanted, runtime, folder, probe)
    found = read_reference(folder)
    found.touch()
    return found


def probe_task(task: Task, settings: EvaluationSettings, runtime: Runtime) -> Probe:
    """Take a first look at a task. Raises UserError as `probe_in` does."""
    seconds = 2.0 * settings.run_timeout * (os.cpu_count() or 1)
    with (
        DeviceLock(interruption=runtime.interruption).shared(),
        runtime.spawn(0, trusted=True, memory_gb=None, processor_seconds=seconds) as runner,
    ):
        return probe_in(runner, task, 2 * settings.run_timeout)


def _wanted(settings: EvaluationSettings) -> dict[str, Any]:
    """The fields of `AnswerSettings`."""
    return {
        "trials": settings.trials,
        "most_draws": settings.most_draws,
        "draw_bytes": settings.draw_mb << 20,
        "derived": {**settings.inputs.model_dump(), "seed": settings.seed},
    }


def _folder(task: Task, wanted: Mapping[str, Any]) -> Path:
    return data_folder() / content_id(_FORMAT, task.id, json.dumps(wanted), torch.__version__)


def read_reference(folder: Path) -> Reference:
    """What was computed into this folder."""
    told = json.loads((folder / MANIFEST).read_text())
    return Reference(
        folder=folder,
        cases=tuple(_case(folder, case) for case in told["cases"]),
        notes=tuple(told["notes"]),
        left_out=told["left_out"],
        overtime=frozenset(told["overtime"]),
        other=_other(folder, told.get("other")),
        init=told["init"],
        probe=Probe.model_validate(told["probe"]),
    )


def _case(folder: Path, told: Mapping[str, Any]) -> Case:
    name, later, after = told["case"], told.get("later"), told.get("after")
    own = VARIANTS if told["variant"] is not None else OWN
    return Case(
        name=name,
        variant=told["variant"],
        trial=told["trial"],
        label=told["label"],
        folder=folder,
        inputs=tuple(told["inputs"]),
        nesting=Structure.model_validate(told["nesting"]),
        draws=told["draws"],
        answers=_answers(folder, f"{name}.", told),
        effects=Effects(tuple(after["positions"]), _answers(folder, f"{name}.after.", after)) if after else None,
        check=told.get("check", own),
        later=Later(later["steps"], _answers(folder, f"{name}.later.", later)) if later else None,
    )


def _other(folder: Path, told: Mapping[str, Any] | None) -> Other | None:
    if told is None:
        return None
    return Other(OtherParameters.model_validate(told["parameters"]), _answers(folder, "other.", told))


def _answers(folder: Path, prefix: str, told: Mapping[str, Any]) -> ReferenceOutputs:
    oracle = told["oracle"]
    return ReferenceOutputs(
        folder,
        prefix,
        tuple(told["native"]),
        None if oracle is None else tuple(oracle),
        told["structure"],
        tuple((dtype, tuple(shape)) for dtype, shape in told["forms"]),
        tuple(told["values"]),
        tuple(told["doubts"]),
        tuple(told.get("fresh", ())),
        told.get("roundings", 0),
    )


def forget_old(folder: Path, most_bytes: float) -> None:
    """Remove data that no run has looked at for hours, and, from the oldest on, what is more than `most_bytes`: it lies in memory.

    Who still uses some of it has its files open, or computes them again.
    """
    found = []
    for each in folder.iterdir():
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in each.iterdir())
            found.append((each.stat().st_mtime, size, each))
    kept = 0
    for looked_at, size, each in sorted(found, reverse=True):
        kept += size
        age = time.time() - looked_at
        if age > _KEPT_SECONDS or (kept > most_bytes and age > _IN_USE_SECONDS):
            shutil.rmtree(each, ignore_errors=True)


def _compute(
    task: Task,
    settings: EvaluationSettings,
    wanted: Mapping[str, Any],
    runtime: Runtime,
    final: Path,
    probe: Probe,
) -> None:
    forget_old(final.parent, _KEPT_SHARE * psutil.virtual_memory().total)
    limit = 10 * settings.run_timeout
    what = f"the inputs and results of task {task.name}"
    with disk_errors(final.parent, what):
        staged = Path(tempfile.mkdtemp(prefix="new-", dir=final.parent))
    seconds = 2 * limit * (os.cpu_count() or 1)
    try:
        with (
            DeviceLock(interruption=runtime.interruption).shared(),
            runtime.spawn(0, trusted=True, memory_gb=None, processor_seconds=seconds) as runner,
        ):
            runner.allow(limit)
            try:
                runner.host(JOB, task=task.model_dump_json())
                manifest = dict(runner.ask("own", folder=str(staged), settings=wanted))
            except FailedError as error:
                raise _at_fault(task, error.failure, limit, staged) from error
            if "error" in manifest:
                raise UserError(manifest["error"])
            runner.allow(limit)
            derived = _derived(runner, manifest["cases"][0])
        manifest |= {
            "cases": [*manifest["cases"], *derived["cases"]],
            "notes": derived["notes"],
            "left_out": derived["left_out"] | ({COMPILED: [_EAGER]} if manifest.pop("made_eager") else {}),
            "overtime": derived["overtime"],
            "other": derived.get("other"),
            "probe": probe.model_dump(),
        }
        with disk_errors(final.parent, what):
            (staged / MANIFEST).write_text(json.dumps(manifest))
        if final.exists():
            # Time had run out for some of it. Whoever uses it has its files open, or computes them again.
            shutil.rmtree(final, ignore_errors=True)
        try:
            staged.rename(final)
        except OSError:
            if not final.exists():  # Else another run was faster.
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def probe_in(runner: Runner, task: Task, limit: float) -> Probe:
    """Have a trusted runner take a first look at a task, within `limit` seconds.

    Raises UserError where the task is at fault: it raises, leaks, takes too long, does not fit.
    """
    runner.allow(limit)
    try:
        runner.host(JOB, task=task.model_dump_json())
        found = Probe.model_validate(runner.ask("probe"))
    except FailedError as error:
        failure = error.failure
        if failure.status is Status.TIMEOUT:
            raise UserError(
                f"task {task.name}: one call of the reference, with its inputs and its constructor, takes longer than {limit:g} s: "
                "make the inputs smaller, or raise evaluation.run_timeout"
            ) from error
        raise _at_fault(task, failure, limit, scratch_base()) from error
    if leak(task, found):
        raise UserError(leak(task, found))
    return found


def _derived(runner: Runner, main: Mapping[str, Any]) -> Mapping[str, Any]:
    """A task that does not survive what is tried to find further inputs is judged on its own."""
    try:
        found = runner.ask("derived", main=main)
    except FailedError as error:
        overtime = error.failure.status is Status.TIMEOUT
        return _nothing_derived(f"the process that tried ended ({error.failure.summary})", overtime=overtime)
    if "error" in found:
        return _nothing_derived(found["error"])
    return found


def _nothing_derived(why: str, *, overtime: bool = False) -> Mapping[str, Any]:
    checks = (SHAPES, VALUES, NONFINITE_VALUES, OTHER_PARAMETERS)
    return {
        "cases": [],
        "notes": [f"no inputs are derived: {why}"],
        "left_out": {check: [f"no inputs are derived: {why}"] for check in checks},
        "overtime": list(checks) if overtime else [],
    }


def _at_fault(task: Task, failure: Failure, limit: float, folder: Path) -> UserError:
    name = f"task {task.name}"
    match failure.status:
        case Status.TIMEOUT:
            return UserError(
                f"{name}: the reference takes longer than {limit:g} s on all its inputs: "
                "make them smaller, or raise evaluation.run_timeout"
            )
        case Status.OUT_OF_MEMORY:
            return UserError(f"{name}: it does not fit in memory; make the inputs smaller")
        case Status.RUNTIME_ERROR:
            return UserError(failure.summary)
    if "No space left on device" in failure.details:
        return full(folder, f"the inputs and results of {name}")
    last = failure.details.strip().splitlines()[-1:] or [f"it {failure.summary}"]
    return UserError(f"{name}: the reference failed: {last[0]}")
