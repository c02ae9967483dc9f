"""What a verdict rests on besides the kernel, as one hash: where it is the same, the verdict holds again."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

from devices.base import Device
from evaluators.service.compiling import fingerprint
from evaluators.settings import EvaluationSettings
from kernelevolve.core.helpers import ROOT
from kernelevolve.core.record import content_id
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task

_PACKAGES = ("torch", "numpy")
_CODE = ("evaluators", "devices", "kernelevolve/core", "kernelevolve/tasks")
_PLUMBING = {"workers", "compile_workers", "batch", "queue", "retries", "cache", "cache_mb"}
"""Settings that no verdict depends on."""


def identity_of(task: Task, device: Device, target: Target, settings: EvaluationSettings, *, careful: bool) -> str:
    """Of this machine, which has the target. `careful`: measured as finalists are."""
    return content_id(
        _code_id(),
        task.id,
        target.model_dump_json(),
        platform.node(),
        *(f"{name}: {fingerprint(device, target, name)}" for name in sorted(device.toolchains())),
        *(f"{name} {version(name)}" for name in _PACKAGES),
        platform.python_version(),
        settings.model_dump_json(exclude=_PLUMBING),
        "careful" if careful else "search",
    )


@functools.lru_cache(maxsize=1)
def _code_id() -> str:
    """Of the code that judges: a verdict of other code is none."""
    digest = hashlib.sha256()
    for file in code_files():
        digest.update(f"{file.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def code_files() -> list[Path]:
    """The files of this package that evaluations depend on."""
    return sorted(file for folder in _CODE for file in (ROOT / folder).rglob("*.py"))
