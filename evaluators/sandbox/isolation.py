"""The means by which candidates are isolated on this machine."""

from __future__ import annotations

import os
import sys

from devices.base import Capability
from evaluators.sandbox import landlock, seccomp
from evaluators.settings import EvaluationSettings
from kernelevolve.core.errors import UserError


def isolation_of(settings: EvaluationSettings) -> str:
    """Return a description of the isolation of candidates, for the record of a run.

    Raises:
        UserError: The settings ask for a sandbox, and this machine has no Landlock.
    """
    if not settings.sandbox:
        return "limits"
    number = landlock.version()
    if number == 0:
        raise UserError(
            "this Linux has no Landlock, which keeps kernels from your files; evaluation.sandbox=off runs them without"
        )
    parts = ["limits", f"Landlock {number} ({landlock.enforced(number)})"]
    return ", ".join([*parts, *([f"seccomp ({seccomp.enforced()})"] if seccomp.supported() else [])])


def isolation() -> tuple[Capability, ...]:
    """Return the capabilities that `kernelevolve doctor` shows."""
    linux = sys.platform == "linux"
    pidfd = hasattr(os, "pidfd_open")
    number = landlock.version() if linux else 0
    calls = seccomp.supported()
    return (
        Capability(
            name="landlock",
            available=number > 0,
            detail=f"version {number}, keeps candidates from: {landlock.enforced(number)}"
            if number
            else "needs Linux 5.13 or newer with Landlock on; without it, evaluation.sandbox=off",
        ),
        Capability(
            name="seccomp",
            available=calls,
            detail=f"keeps candidates from: {seccomp.enforced()}"
            if calls
            else "needs Linux 4.14 or newer with seccomp filters on, on x86_64 or aarch64; candidates run without it",
        ),
        Capability(
            name="process group",
            available=linux and pidfd,
            detail="each candidate in a session of its own, killed with everything that descends from it"
            if linux and pidfd
            else "needs Linux 5.3 or newer",
        ),
        Capability(name="limits", available=linux, detail="memory, processor time, files, no core dumps"),
        Capability(name="environment", available=True, detail="scrubbed: keys do not reach a candidate"),
        Capability(name="privileges", available=linux, detail="none gained: no-new-privileges is set"),
    )
