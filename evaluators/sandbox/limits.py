"""Resource limits of a candidate's process, set with setrlimit(2).

Some limits are not set: that of locked memory, because it is part of the limited memory and ROCm locks its buffers; that of the stack,
because it is part of the limited memory too and determines the size of thread stacks; that of pending signals, because the process can
signal only itself.
"""

from __future__ import annotations

import resource
from pathlib import Path

from pydantic import Field

from kernelevolve.core.record import Record


class Limits(Record):
    """The resource limits of a process and its threads.

    All limits are hard: only root can raise them again. A lower limit that is already in force stays.
    """

    memory_bytes: int = Field(gt=0)
    """The bytes of private memory beyond what the process holds when it is limited (RLIMIT_DATA). Heaps, thread stacks and anonymous maps
    count; reserved memory and shared maps do not. Beyond the limit an allocation fails with MemoryError, std::bad_alloc or RuntimeError."""
    address_bytes: int | None = Field(default=None, gt=0)
    """The bytes of address space beyond what is mapped when the process is limited (RLIMIT_AS). Shared maps and reserved memory count too:
    glibc reserves 64 MiB for each thread that allocates, and CUDA terabytes. So it needs a wide margin, and None with a GPU."""
    file_bytes: int = Field(ge=0)
    """The largest size in bytes of a file that the process writes (RLIMIT_FSIZE). Beyond it, Python raises OSError with EFBIG, and other
    code gets the signal SIGXFSZ."""
    processor_seconds: int = Field(gt=0)
    """The processor seconds of all threads together (RLIMIT_CPU). Beyond them the process gets SIGKILL."""
    open_files: int = Field(gt=0)
    """The number that every file descriptor stays below (RLIMIT_NOFILE). Beyond it, opening a file fails with EMFILE."""
    tasks: int | None = Field(default=None, gt=0)
    """The threads and processes that the user may have beyond all that the machine runs when the process is limited (RLIMIT_NPROC). The
    kernel counts by user and exempts root, so this only stops thread bombs. Beyond it, starting a thread fails with EAGAIN."""


def apply_limits(limits: Limits) -> None:
    """Limit this process, its threads and its descendants. It works on Linux only. Call it after the fork."""
    _limit(resource.RLIMIT_DATA, _status_bytes("VmData") + limits.memory_bytes)
    if limits.address_bytes is not None:
        _limit(resource.RLIMIT_AS, _status_bytes("VmSize") + limits.address_bytes)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit(resource.RLIMIT_CPU, limits.processor_seconds)
    _limit(resource.RLIMIT_NOFILE, limits.open_files)
    if limits.tasks is not None:
        _limit(resource.RLIMIT_NPROC, _machine_tasks() + limits.tasks)
    # With a limit of 0, Linux still pipes a dump to the program that /proc/sys/kernel/core_pattern may name, and the process lives until
    # the program has read it. With 1 it does neither (see core(5), fs/coredump.c).
    _limit(resource.RLIMIT_CORE, 1)
    for kind in (resource.RLIMIT_MSGQUEUE, resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):
        _limit(kind, 0)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (ceiling, ceiling))


def _status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    raise OSError(f"/proc/self/status has no line {key}")


def _machine_tasks() -> int:
    """Return the number of threads of all processes, which is at least that of this user and cheaper to find."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
