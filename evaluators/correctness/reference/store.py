"""Computing the reference data of tasks once on a machine, storing it, and removing what is no longer used."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from evaluators.correctness.inputs.checks import COMPILED, NONFINITE_VALUES, OTHER_PARAMETERS, SHAPES, VALUES
from evaluators.correctness.reference.data import MANIFEST, Reference, read_reference
from evaluators.correctness.reference.probe import Probe, leak, preparation_seconds
from evaluators.runtime.base import Runner, Runtime
from evaluators.runtime.device_lock import DeviceLock
from evaluators.scratch import disk_errors, full, scratch_base
from evaluators.settings import EvaluationSettings
from evaluators.verdict import FailedError, Failure
from kernelevolve.core.errors import UserError
from kernelevolve.core.evaluation import Status
from kernelevolve.core.private_folder import private_folder
from kernelevolve.core.record import content_id
from kernelevolve.core.task import Task

_FORMAT = "41"
"""The version of the stored data, messages included, which is part of the hash that names each folder."""
_EAGER = "torch.compile in the task has no effect: the reference runs, and is timed, without being compiled"
JOB = "evaluators.correctness.reference.job:ReferenceJob"
_KEPT_SECONDS = 6 * 3600.0
"""The seconds after its last use for which data is kept."""
_IN_USE_SECONDS = 60.0
"""The seconds after its last use for which data is kept even where all data takes too much memory."""
_KEPT_SHARE = 0.125
"""The share of the machine's memory that the data of all tasks may take; the least recently used data is removed first."""


def data_folder() -> Path:
    """Return the private folder of the reference data of all tasks; create it where it is missing."""
    base = scratch_base()
    with disk_errors(base, "a folder"):
        return private_folder(base, "kernelevolve-data")


def find_reference(task: Task, settings: EvaluationSettings, device_type: str) -> Reference | None:
    """Return the stored reference data of a task; None where there is none, or where time ran out for some of it."""
    folder = _folder(task, _wanted(settings, device_type))
    try:
        reference = read_reference(folder)
        reference.touch()
    except FileNotFoundError:
        return None
    return None if reference.timed_out else reference


def compute_reference(task: Task, settings: EvaluationSettings, runtime: Runtime, probe: Probe) -> Reference:
    """Compute and store the reference data of a task.

    Args:
        task: The task.
        settings: The settings of evaluations.
        runtime: Starts the runner process that computes.
        probe: The probe of the task.

    Returns:
        The reference data.

    Raises:
        UserError: The task is at fault: it raises, returns no tensors, is not deterministic, or does not fit in memory.
    """
    wanted = _wanted(settings, runtime.device_type)
    folder = _folder(task, wanted)
    _compute(task, settings, wanted, runtime, folder, probe)
    reference = read_reference(folder)
    reference.touch()
    return reference


def probe_task(task: Task, settings: EvaluationSettings, runtime: Runtime) -> Probe:
    """Probe a task in a runner process of its own. Raises UserError as `probe_in` does."""
    seconds = 2.0 * settings.run_timeout * (os.cpu_count() or 1)
    with (
        DeviceLock(interruption=runtime.interruption, device=runtime.device).shared(),
        runtime.spawn(0, trusted=True, memory_gb=None, processor_seconds=seconds) as runner,
    ):
        return probe_in(runner, task, 2 * settings.run_timeout, "evaluation.run_timeout", runtime.device_type)


def _wanted(settings: EvaluationSettings, device_type: str) -> dict[str, Any]:
    """Return the fields of `ReferenceSettings`."""
    return {
        "device": device_type,
        "trials": settings.trials,
        "max_draws": settings.max_draws,
        "draw_bytes": settings.draw_mb << 20,
        "derived": {**settings.inputs.model_dump(), "seed": settings.seed},
    }


def _folder(task: Task, wanted: Mapping[str, Any]) -> Path:
    return data_folder() / content_id(_FORMAT, task.id, json.dumps(wanted), torch.__version__)


def forget_old(folder: Path, max_bytes: float) -> None:
    """Remove data that was not used for hours, and the least recently used data beyond a limit.

    A process that still uses removed data has its files open, or computes it again.

    Args:
        folder: The folder of the data of all tasks, which lies in memory.
        max_bytes: The bytes that all data may take.
    """
    entries = []
    for each in folder.iterdir():
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in each.iterdir())
            entries.append((each.stat().st_mtime, size, each))
    kept = 0
    for used_at, size, each in sorted(entries, reverse=True):
        kept += size
        age = time.time() - used_at
        if age > _KEPT_SECONDS or (kept > max_bytes and age > _IN_USE_SECONDS):
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
    limit = preparation_seconds(probe, settings)
    what = f"the inputs and results of task {task.name}"
    with disk_errors(final.parent, what):
        staged = Path(tempfile.mkdtemp(prefix="new-", dir=final.parent))
    seconds = 2 * limit * (os.cpu_count() or 1)
    try:
        with (
            DeviceLock(interruption=runtime.interruption, device=runtime.device).shared(),
            runtime.spawn(0, trusted=True, memory_gb=None, processor_seconds=seconds) as runner,
        ):
            runner.allow(limit)
            try:
                runner.host(JOB, task=task.model_dump_json())
                manifest = dict(runner.ask("own", folder=str(staged), settings=wanted))
            except FailedError as error:
                raise _at_fault(task, error.failure, limit, staged) from error
            for message in ("refused", "error"):
                if message in manifest:
                    raise UserError(manifest[message])
            runner.allow(limit)
            derived = _derived(runner, manifest["cases"][0])
        manifest |= {
            "cases": [*manifest["cases"], *derived["cases"]],
            "notes": derived["notes"],
            "skipped": derived["skipped"] | ({COMPILED: [_EAGER]} if manifest.pop("made_eager") else {}),
            "timed_out": derived["timed_out"],
            "other": derived.get("other"),
            "probe": probe.model_dump(),
        }
        with disk_errors(final.parent, what):
            (staged / MANIFEST).write_text(json.dumps(manifest))
        if final.exists():
            # Time had run out for some of the existing data. A process that uses it has its files open, or computes it again.
            shutil.rmtree(final, ignore_errors=True)
        try:
            staged.rename(final)
        except OSError:
            if not final.exists():  # Otherwise another run has stored the same data first.
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def probe_in(runner: Runner, task: Task, limit: float, setting: str, device: str) -> Probe:
    """Probe a task in a trusted runner process.

    Args:
        runner: The runner process.
        task: The task.
        limit: The seconds that the probe may take.
        setting: The key of the configuration that raises the limit.
        device: The type of the device that computes.

    Returns:
        The probe of the task.

    Raises:
        UserError: The task is at fault: it raises, leaks memory, takes too long, or does not fit in memory.
    """
    runner.allow(limit)
    try:
        runner.host(JOB, task=task.model_dump_json())
        probe = Probe.model_validate(runner.ask("probe", device=device))
    except FailedError as error:
        failure = error.failure
        if failure.status is Status.TIMEOUT:
            raise UserError(
                f"task {task.name}: one call of the reference, with its inputs and its constructor, takes longer than {limit:g} s: "
                f"make the inputs smaller, or raise {setting}"
            ) from error
        raise _at_fault(task, failure, limit, scratch_base()) from error
    if leak(task, probe):
        raise UserError(leak(task, probe))
    return probe


def _derived(runner: Runner, main: Mapping[str, Any]) -> Mapping[str, Any]:
    """Compute the derived cases; where that fails or ends the process, kernels are evaluated on the task's own inputs alone."""
    try:
        derived = runner.ask("derived", main=main)
    except FailedError as error:
        timed_out = error.failure.status is Status.TIMEOUT
        return _nothing_derived(f"the process that computed them ended ({error.failure.summary})", timed_out=timed_out)
    if "refused" in derived:
        raise UserError(derived["refused"])
    if "error" in derived:
        return _nothing_derived(derived["error"])
    return derived


def _nothing_derived(why: str, *, timed_out: bool = False) -> Mapping[str, Any]:
    checks = (SHAPES, VALUES, NONFINITE_VALUES, OTHER_PARAMETERS)
    return {
        "cases": [],
        "notes": [f"no inputs are derived: {why}"],
        "skipped": {check: [f"no inputs are derived: {why}"] for check in checks},
        "timed_out": list(checks) if timed_out else [],
    }


def _at_fault(task: Task, failure: Failure, limit: float, folder: Path) -> UserError:
    """Return the error that describes a failure of the task's own code."""
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
