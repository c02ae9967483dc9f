"""A cache of what follows from a task and takes long to compute. It is computed once on a machine and kept for some hours."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from kernelevolve.core.private_folder import private_folder
from kernelevolve.core.record import content_id
from kernelevolve.core.task import Task

_STEM = "kernelevolve-seeds"
_KEPT_SECONDS = 12 * 3600.0


def kept(task: Task, what: str, make: Callable[[], bytes]) -> bytes:
    """Return the result of `make`, or that of an earlier call by this user on this machine. Concurrent calls wait for the first one.

    It is kept for this version of torch and of our code. If `make` raises, the error is passed on and nothing is kept.

    Args:
        task: The task.
        what: The name of the result.
        make: The function that computes it.
    """
    folder = private_folder(Path(tempfile.gettempdir()), _STEM)
    place = folder / content_id(task.id, what, str(torch.__version__), _version())
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            return place.read_bytes()
        made = make()
        _sweep(folder)
        written = place.with_suffix(".new")
        written.write_bytes(made)
        written.replace(place)
        return made


@cache
def _version() -> str:
    here = Path(__file__).parent
    files = sorted([*here.rglob("*.py"), *(here.parent / "traced").rglob("*.py")])
    return content_id(*(file.read_text(encoding="utf-8") for file in files))


def _sweep(folder: Path) -> None:
    for entry in os.scandir(folder):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > _KEPT_SECONDS:
                os.unlink(entry.path)
