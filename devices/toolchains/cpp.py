"""The toolchain of C++ kernels, which compiles the two literals of a kernel file to a shared library."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devices.base import Artifact, Capability, CompileFailure, Toolchain
from devices.toolchains.literals import LiteralError, read_literals
from devices.toolchains.loader import LOADER
from devices.toolchains.messages import cut_messages
from devices.toolchains.screen import refused_flag, refused_source
from kernelevolve.core.errors import UserError
from kernelevolve.core.kernel import Kernel
from kernelevolve.core.signature import Signature
from kernelevolve.core.target import Target

__all__ = ["LOADER", "CppToolchain"]

_MEMORY_BYTES = 6 << 30
"""The most bytes of memory of a compiler."""
_FILE_BYTES = 256 << 20
"""The largest size in bytes of a file that a compiler writes."""
_FULL_DISK_BYTES = 16 << 20
"""The free bytes below which a disk counts as full."""
_STEP_SECONDS = 0.005
"""The seconds between two calls of `give_way`."""


def _loader_functions() -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "devices.toolchains.loader_text"}
    exec(compile(LOADER, "loader", "exec", dont_inherit=True), namespace)
    return namespace


# The toolchain uses the loader's own functions, so that both always agree on a library's name and on the commands.
_FUNCTIONS = _loader_functions()
_commands: Callable[[str, str, str, list[str]], list[list[str]]] = _FUNCTIONS["_commands"]
_compiler_version: Callable[[str], str] = _FUNCTIONS["_compiler_version"]
_cpu: Callable[[], str] = _FUNCTIONS["_cpu"]
_library_name: Callable[[str, list[str]], str] = _FUNCTIONS["_library_name"]


def find_compiler() -> str:
    """Return the path of $CXX if it is set, or else of g++ or clang++. Raises UserError if there is no compiler."""
    try:
        return str(_FUNCTIONS["_compiler"]())
    except FileNotFoundError as error:
        raise UserError(str(error)) from error


def instructions() -> str:
    """Return a hash of the instruction set of this machine's processor, as the loader of kernels distinguishes them."""
    return hashlib.sha256(_cpu().encode()).hexdigest()[:16]


class CppToolchain(Toolchain):
    """Compiles `CPP_SOURCE` with `CPP_FLAGS`. Both are read from the file's syntax tree, so the file itself never runs."""

    name = "cpp"

    def capability(self) -> Capability:
        try:
            return Capability(name=self.name, available=True, detail=_compiler_version(find_compiler()))
        except UserError as error:
            return Capability(name=self.name, available=False, detail=str(error))

    def fingerprint(self, target: Target) -> str:
        """Return the fingerprint, see `Toolchain`. It is empty unless this machine has the target's instructions (`-march=native`)."""
        cpu = instructions()
        if target.facts.get("instructions") != cpu or not self.capability().available:
            return ""
        loader = hashlib.sha256(LOADER.encode()).hexdigest()[:16]
        return f"cpp {_compiler_version(find_compiler())} cpu {cpu} loader {loader}"

    def compile(
        self,
        kernel: Kernel,
        target: Target,  # noqa: ARG002 - this machine has its instructions
        signature: Signature,  # noqa: ARG002 - C++ is not specialised
        build_dir: Path,
        timeout: float,
        give_way: Callable[[int], None] | None = None,
    ) -> Artifact | CompileFailure:
        """Compile a kernel, see `Toolchain`. After `timeout` seconds the compiler's whole process group is killed."""
        try:
            source, flags = read_literals(kernel.source)
        except LiteralError as error:
            return CompileFailure(summary=str(error), details="")
        reason = next(filter(None, map(refused_flag, flags)), None) or refused_source(source)
        if reason:
            return CompileFailure(summary=reason, details="")
        compiler = find_compiler()
        build_dir = build_dir.resolve()
        build_dir.mkdir(parents=True, exist_ok=True)
        name = _library_name(source, flags)
        if not (build_dir / name).exists():
            with tempfile.TemporaryDirectory(dir=build_dir, prefix="building-") as folder:
                failure = _build(Path(folder), compiler, name, source, flags=flags, timeout=timeout, give_way=give_way)
                if failure is not None:
                    return failure
                os.replace(Path(folder) / name, build_dir / name)
        environment = {"KERNELEVOLVE_BUILD_DIR": str(build_dir), "KERNELEVOLVE_BUILT_BY": _compiler_version(compiler)}
        return Artifact(kernel_id=kernel.id, files=(name,), environment=environment)


def _build(
    folder: Path,
    compiler: str,
    name: str,
    source: str,
    *,
    flags: list[str],
    timeout: float,
    give_way: Callable[[int], None] | None,
) -> CompileFailure | None:
    (folder / "kernel.cpp").write_text(source, encoding="utf-8")
    # Recursive templates can take memory quickly, so the limits are set in the shell before the compiler starts.
    limits = (
        f"ulimit -v {_limit(resource.RLIMIT_AS, _MEMORY_BYTES) // 1024}; "
        f"ulimit -f {_limit(resource.RLIMIT_FSIZE, _FILE_BYTES) // 512}; ulimit -c 0; "
        # This limit ends the compiler if this process is no longer there to do so.
        f"ulimit -t {_limit(resource.RLIMIT_CPU, math.ceil(timeout) + 1)}; "
        'exec "$@"'
    )
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(folder)}
    deadline = time.monotonic() + timeout
    code = 0
    with (folder / "messages").open("w+b") as messages:
        for command in _commands(compiler, "kernel.cpp", name, flags):
            process = subprocess.Popen(
                ["/bin/sh", "-c", limits, "sh", *command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                # The group stays in this session: if this process dies while the group is stopped, the kernel ends it (setpgid(2)).
                process_group=0,
            )
            try:
                code, deadline = _wait(process, deadline, give_way)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    return CompileFailure(summary=f"compiling took longer than {timeout:g} s", details="", timeout=True)
                raise
            if code:
                break
        messages.seek(0)
        text = messages.read(1 << 20).decode("utf-8", "replace")
    if code == 0:
        return None
    # The message alone is no proof, since a kernel can print it with #error.
    if "No space left on device" in text and shutil.disk_usage(folder).free < _FULL_DISK_BYTES:
        raise OSError(errno.ENOSPC, "no space left to compile", str(folder.parent))
    return _failure(text, source, code)


def _wait(
    process: subprocess.Popen[bytes], deadline: float, give_way: Callable[[int], None] | None
) -> tuple[int, float]:
    """Wait for a compiler. Return its exit status, and the deadline moved by the time for which it was stopped.

    Raises subprocess.TimeoutExpired at the deadline.
    """
    while True:
        left = max(0.0, deadline - time.monotonic())
        try:
            return process.wait(left if give_way is None else min(left, _STEP_SECONDS)), deadline
        except subprocess.TimeoutExpired:
            if give_way is None or time.monotonic() >= deadline:
                raise
            begin = time.monotonic()
            give_way(process.pid)
            deadline += time.monotonic() - begin


def _limit(kind: int, wanted: int) -> int:
    """Return `wanted`, or the hard limit of this process if that is lower."""
    hard = resource.getrlimit(kind)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _failure(text: str, source: str, code: int) -> CompileFailure:
    summary, details = cut_messages(text, source, "kernel.cpp")
    if not summary:
        return CompileFailure(summary=f"the compiler ended with status {code}", details=text[:2000])
    return CompileFailure(summary=summary, details=details)
