"""Compiling for the processor of this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from devices.base import Artifact, CompileFailure, Toolchain
from devices.cpu import CpuDevice
from devices.toolchains.cpp import CppToolchain
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target


@cache
def this_machine() -> Target:
    """Its processor."""
    return CpuDevice().target()


def compiled(
    kernel: Kernel,
    folder: Path,
    timeout: float = 60,
    give_way: Callable[[int], None] | None = None,
    toolchain: Toolchain | None = None,
) -> Artifact | CompileFailure:
    """What the toolchain for C++, or another, makes of a kernel."""
    return (toolchain or CppToolchain()).compile(kernel, this_machine(), Signature(), folder, timeout, give_way)
