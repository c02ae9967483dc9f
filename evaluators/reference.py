"""What the task's own code gives: inputs, results and oracle of every case, computed once for a task on a machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evaluators import tensors
from evaluators.client import ForkServer
from evaluators.folders import private_folder
from evaluators.gate import Gate
from evaluators.scratch import disk_errors, full, scratch_base
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError
from kernelevolve.core.record import content_id
from kernelevolve.core.task import Task

_FORMAT = "2"
_KEPT_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class Case:
    """One set of inputs with its right answers."""

    name: str
    variant: str | None
    trial: int
    native: tuple[dict[str, Any], ...]
    oracle: tuple[dict[str, Any], ...]
    structure: str


@dataclass(frozen=True)
class Reference:
    """Inputs and answers on disk. Candidates may read the folder's inputs; the answers lie in another one."""

    inputs: Path
    answers: Path
    cases: tuple[Case, ...]

    def touch(self) -> None:
        """Keep the data from being forgotten. Raises FileNotFoundError where it is gone."""
        os.utime(self.inputs.parent)

    def output_bytes(self, case: Case) -> int:
        """That the outputs of the case take."""
        return sum((self.answers / f"{case.name}.native{i}").stat().st_size for i in range(len(case.native)))

    def answer(self, case: Case, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(PyTorch's own result, oracle) of one output."""
        native = tensors.load(case.native[position], self.answers / f"{case.name}.native{position}")
        oracle = tensors.load(case.oracle[position], self.answers / f"{case.name}.oracle{position}")
        return native, oracle


def data_folder() -> Path:
    base = scratch_base()
    with disk_errors(base, "a folder"):
        return private_folder(base, "kernelevolve-data")


def reference_of(task: Task, settings: EvaluationSettings, server: ForkServer) -> Reference:
    """Compute, or find, the reference data of a task.

    Raises UserError, one line, where the task is at fault: it raises, returns no tensors, is not deterministic, does not fit.
    """
    name = content_id(_FORMAT, task.id, str(settings.trials), torch.__version__)
    final = data_folder() / name
    if not (final / "cases.json").exists():
        _compute(task, settings, server, final)
    told = json.loads((final / "cases.json").read_text())
    cases = tuple(
        Case(c["case"], c["variant"], c["trial"], tuple(c["native"]), tuple(c["oracle"]), c["structure"]) for c in told
    )
    found = Reference(final / "inputs", final / "answers", cases)
    found.touch()
    return found


def _forget_old(folder: Path) -> None:
    """Remove data that no run has looked at for hours: it lies in memory."""
    for old in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old)


def _compute(task: Task, settings: EvaluationSettings, server: ForkServer, final: Path) -> None:
    _forget_old(final.parent)
    with server.job() as job, Gate().shared():
        payload = {"task": task.model_dump_json(), "trials": settings.trials}
        outcome = server.run(
            job,
            "reference",
            payload,
            timeout=10 * settings.run_timeout,
            memory_gb=_free_gb(),
            environment={},
        )
        if outcome.timeout:
            raise UserError(f"task {task.name}: the reference takes longer than {10 * settings.run_timeout:g} s")
        if outcome.out_of_memory or outcome.signal == 9:
            raise UserError(f"task {task.name}: it does not fit in memory; make the inputs smaller")
        if outcome.result is None and "No space left on device" in outcome.output:
            raise full(job.folder.parent, f"the inputs and results of task {task.name}")
        if outcome.result is None:
            last = outcome.output.strip().splitlines()[-1:] or [f"it ended with {outcome.signal_name}"]
            raise UserError(f"task {task.name}: the reference failed: {last[0]}")
        if "error" in outcome.result:
            raise UserError(outcome.result["error"])
        with disk_errors(final.parent, f"the inputs and results of task {task.name}"):
            _keep(job.folder, outcome.result["cases"], final)


def _keep(made: Path, cases: list[dict[str, Any]], final: Path) -> None:
    """Move what a child has made to its place, in one step."""
    staged = Path(tempfile.mkdtemp(prefix="new-", dir=final.parent))
    try:
        (staged / "inputs").mkdir()
        (staged / "answers").mkdir()
        for path in made.iterdir():
            if ".in" in path.name:
                shutil.move(str(path), staged / "inputs" / path.name)
            elif ".native" in path.name or ".oracle" in path.name:
                shutil.move(str(path), staged / "answers" / path.name)
        (staged / "cases.json").write_text(json.dumps(cases))
        try:
            staged.rename(final)
        except OSError:
            if not final.exists():  # Else another run was faster.
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _free_gb() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / (1 << 20) * 0.8
    return 4.0
