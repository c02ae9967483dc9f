"""The identity of an evaluation: a hash of everything that determines it besides the kernel."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

from devices.base import Device
from evaluators.service.compiling import fingerprint
from evaluators.settings import EvaluationSettings
from kernelevolve.core.child_process import ROOT
from kernelevolve.core.record import content_id
from kernelevolve.core.target import Target
from kernelevolve.core.task import Task

_PACKAGES = ("torch", "numpy")
"""The packages whose versions affect evaluations."""
_CODE = ("evaluators", "devices", "kernelevolve/core", "kernelevolve/tasks")
"""The folders of code that affects evaluations."""
_PLUMBING = {"workers", "compile_workers", "batch", "queue", "retries", "cache", "cache_mb"}
"""The settings that do not affect evaluations."""


def identity_of(task: Task, device: Device, target: Target, settings: EvaluationSettings, *, careful: bool) -> str:
    """Return the identity of evaluations on this machine.

    Args:
        task: The task.
        device: The device.
        target: The device of this machine.
        settings: The settings of evaluation.
        careful: Whether kernels are measured as finalists are.
    """
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
    """Return a hash of the code that evaluates."""
    digest = hashlib.sha256()
    for file in code_files():
        digest.update(f"{file.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def code_files() -> list[Path]:
    """Return the files of this package that evaluations depend on."""
    return sorted(file for folder in _CODE for file in (ROOT / folder).rglob("*.py"))
