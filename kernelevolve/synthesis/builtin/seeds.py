"""The seed kernels of a task: made once on a machine, kept for some hours, the same for all islands and runs."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from evaluators.folders import private_folder
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.record import content_id
from kernelevolve.core.task import AllowAten, Task
from kernelevolve.synthesis.builtin.chain import Stage
from kernelevolve.synthesis.builtin.inductor.isolated import answer
from kernelevolve.synthesis.builtin.reference_seed import reference_copy, reference_variants
from kernelevolve.synthesis.traced.builder import UnsupportedError

_STEM = "kernelevolve-seeds"
_KEPT_SECONDS = 12 * 3600.0


@dataclass(frozen=True)
class Seed:
    """A kernel to start from."""

    kernel: Kernel
    remark: str = ""
    """What is particular about it, in a line for a person."""


def forbidden(task: Task) -> dict[Stage, str]:
    """The stages whose kernels the task's rule forbids, and why."""
    if task.allow_aten is AllowAten.ALL:
        return {}
    why = f"its task forbids PyTorch's own compute (allow_aten: {task.allow_aten.value})"
    return dict.fromkeys((Stage.ATEN, Stage.REFERENCE), why)


def seeds_of(task: Task, stage: Stage) -> tuple[Seed, ...]:
    """The seeds of a stage but the traced form's, the most promising first. Those from PyTorch's compilers take many seconds.

    Raises UnsupportedError with the reason where there are none.
    """
    if stage is Stage.REFERENCE:
        variants = [Seed(kernel, what) for what, kernel in reference_variants(task).items()]
        return (Seed(reference_copy(task)), *variants)
    told = _answer(task, stage)
    if "refused" in told:
        raise UnsupportedError(told["refused"])
    return (Seed(Kernel.model_validate_json(told["kernel"]), told["remark"]),)


def _answer(task: Task, stage: Stage) -> dict[str, str]:
    """What the process of a stage answers, from an earlier call where it is kept. Who comes second waits for the first."""
    folder = private_folder(Path(tempfile.gettempdir()), _STEM)
    place = folder / f"{content_id(task.id, stage.value, str(torch.__version__), _version())}.json"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            found: dict[str, str] = json.loads(place.read_text(encoding="utf-8"))
            return found
        made = answer(task, stage.value)
        _sweep(folder)
        written = place.with_suffix(".new")
        written.write_text(json.dumps(made), encoding="utf-8")
        written.replace(place)
        return made


@cache
def _version() -> str:
    """Of the code that makes seeds."""
    here = Path(__file__).parent
    texts = (p.read_text(encoding="utf-8") for p in sorted([*here.rglob("*.py"), *here.parent.glob("traced/*.py")]))
    return content_id(*texts)


def _sweep(folder: Path) -> None:
    for entry in os.scandir(folder):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > _KEPT_SECONDS:
                os.unlink(entry.path)
