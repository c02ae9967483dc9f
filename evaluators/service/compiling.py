"""Compilation of kernels, without torch and without the device, in the process that evaluates or in a Ray task on any machine."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devices.base import Artifact, CompileFailure, Device
from evaluators.folders import OwnedFolder
from evaluators.runtime.device_lock import DeviceLock
from evaluators.scratch import disk_errors
from evaluators.service.source import check_source
from evaluators.verdict import FailedError, Failure, failed
from kernelevolve.core.evaluation import Status
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target
from kernelevolve.remote import stand_by


@dataclass(frozen=True)
class Compiled:
    """A compiled kernel that can be sent to another machine."""

    artifact: Artifact
    """The artifact."""
    fingerprint: str
    """The fingerprint of its toolchain for the target."""
    folder: str
    """The folder in which it was built."""
    contents: Mapping[str, bytes]
    """The contents of its files, by their paths below the build folder."""
    seconds: Mapping[str, float]
    """The seconds of each stage."""

    def unpack(self, build_dir: Path) -> Artifact:
        """Write the missing files of the artifact to a build folder on this machine. Return the artifact there."""
        build_dir = build_dir.resolve()
        with disk_errors(build_dir, "what was compiled"):
            for name, content in self.contents.items():
                if not (build_dir / name).exists():
                    (build_dir / name).parent.mkdir(parents=True, exist_ok=True)
                    handle, staged = tempfile.mkstemp(dir=build_dir, prefix="arriving-")
                    with os.fdopen(handle, "wb") as file:
                        file.write(content)
                    os.replace(staged, build_dir / name)
        return self.artifact.moved(Path(self.folder), build_dir)


@dataclass(frozen=True)
class Rejected:
    """A kernel that could not be compiled."""

    failure: Failure
    """The failure of the kernel."""
    seconds: Mapping[str, float]
    """The seconds of each stage."""


@dataclass(frozen=True)
class OtherTarget:
    """The reply of a machine that compiles for another target than that of the machine that measures."""


def compile_kernel(
    kernel: Kernel,
    device: Device,
    target: Target,
    signature: Signature,
    build_dir: Path,
    timeout: float,
    lock: DeviceLock,
) -> Artifact:
    """Compile a kernel with its toolchain, while nothing is measured on this machine.

    Args:
        kernel: The kernel.
        device: The kind of hardware.
        target: The hardware that the kernel is for.
        signature: The calls that it must serve.
        build_dir: The folder of artifacts.
        timeout: The seconds that the compiler may take.
        lock: The device lock, which is held shared meanwhile.

    Raises:
        FailedError: The kernel cannot be compiled.
    """
    toolchain = device.toolchains().get(kernel.language)
    if toolchain is None:
        known = ", ".join(sorted(device.toolchains()))
        raise failed(Status.INVALID_SOURCE, "source", f"language {kernel.language}: this device compiles {known}")
    with lock.shared() as give_way, disk_errors(build_dir, "what is compiled"):
        made = toolchain.compile(kernel, target, signature, build_dir, timeout, give_way)
    if isinstance(made, CompileFailure):
        status = Status.TIMEOUT if made.timeout else Status.COMPILE_ERROR
        raise failed(status, "compile", made.summary, made.details)
    return made


def fingerprint(device: Device, target: Target, language: str) -> str:
    """Return the fingerprint of this machine's toolchain of a language for a target, or an empty text if it compiles nothing for it."""
    toolchain = device.toolchains().get(language)
    return toolchain.fingerprint(target) if toolchain is not None else ""


def compile_task(
    kernel: Kernel,
    device: Device,
    target: Target,
    signature: Signature,
    timeout: float,
    wanted: Mapping[str, str],
    base: str,
) -> Compiled | Rejected | OtherTarget:
    """Check the source of a kernel and compile it, in a Ray task. Ray cancels a task by KeyboardInterrupt, which ends the compiler.

    Args:
        kernel: The kernel.
        device: The kind of hardware.
        target: The hardware that the kernel is for.
        signature: The calls that it must serve.
        timeout: The seconds that the compiler may take.
        wanted: The fingerprints of the machine that measures, by language.
        base: The folder to build in, if it exists on this machine.

    Returns:
        The compiled kernel, its failure, or `OtherTarget` if this machine's artifacts would differ.
    """
    stand_by()
    begin = time.monotonic()
    failure = check_source(kernel.source)
    seconds = {"source": time.monotonic() - begin}
    if failure is not None:
        return Rejected(failure, seconds)
    made_by = fingerprint(device, target, kernel.language)
    if made_by != wanted.get(kernel.language, ""):
        return OtherTarget()
    with contextlib.ExitStack() as stack:
        base_dir = Path(base if Path(base).is_dir() else tempfile.gettempdir())
        with disk_errors(base_dir, "what is compiled"):
            folder = OwnedFolder(base_dir, "kernelevolve-compile")
        stack.callback(folder.remove)
        build_dir = folder.path
        begin = time.monotonic()
        try:
            artifact = compile_kernel(kernel, device, target, signature, build_dir, timeout, DeviceLock())
        except FailedError as error:
            return Rejected(error.failure, {**seconds, "compile": time.monotonic() - begin})
        contents = {name: (build_dir / name).read_bytes() for name in artifact.files}
        return Compiled(artifact, made_by, str(build_dir), contents, {**seconds, "compile": time.monotonic() - begin})
