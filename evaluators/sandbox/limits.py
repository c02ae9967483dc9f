"""Limits of a process, by setrlimit(2): what a candidate may take of the machine.

Not limited, and why: locked memory (part of the memory that is limited; ROCm locks its buffers), the stack (part of it too; the size of
thread stacks follows from it), pending signals (a process that can signal itself alone has no use for them).
"""

from __future__ import annotations

import resource
from pathlib import Path

from pydantic import Field

from kernelevolve.core.record import Record


class Limits(Record):
    """What a process and its threads may take. Every limit is hard: the process cannot lift it again, unless it is root.

    A limit under which this process runs already is never lifted.
    """

    memory_bytes: int = Field(gt=0)
    """Private memory, beyond what the process holds when it is limited (RLIMIT_DATA). Counts heaps, thread stacks and anonymous maps, not
    what is only reserved, nor shared maps. Beyond it, an allocation fails: MemoryError, std::bad_alloc, RuntimeError of torch."""
    address_bytes: int | None = Field(default=None, gt=0)
    """Addresses, beyond those mapped when the process is limited (RLIMIT_AS). Shared maps count here too, and so does what is only
    reserved: glibc sets 64 MiB aside for each thread that allocates, CUDA terabytes. So this wants a wide margin, and None with a GPU."""
    file_bytes: int = Field(ge=0)
    """Size of any file that it writes (RLIMIT_FSIZE). Beyond it: OSError EFBIG in Python, the signal SIGXFSZ elsewhere."""
    processor_seconds: int = Field(gt=0)
    """Of all threads together (RLIMIT_CPU). Beyond it: SIGKILL."""
    open_files: int = Field(gt=0)
    """Descriptors below this number (RLIMIT_NOFILE). Beyond it: OSError EMFILE."""
    tasks: int | None = Field(default=None, gt=0)
    """Threads and processes that the user may have beyond all that the machine runs when the process is limited (RLIMIT_NPROC). The kernel
    counts them by user, not by process, and does not hold root to it: a rope for thread bombs, not a share. Beyond it: EAGAIN."""


def apply_limits(limits: Limits) -> None:
    """Limit this process, all of its threads and what it starts. Linux only. Call it after fork."""
    _limit(resource.RLIMIT_DATA, _status_bytes("VmData") + limits.memory_bytes)
    if limits.address_bytes is not None:
        _limit(resource.RLIMIT_AS, _status_bytes("VmSize") + limits.address_bytes)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit(resource.RLIMIT_CPU, limits.processor_seconds)
    _limit(resource.RLIMIT_NOFILE, limits.open_files)
    if limits.tasks is not None:
        _limit(resource.RLIMIT_NPROC, _machine_tasks() + limits.tasks)
    # With 0, Linux still hands a dump to the program that /proc/sys/kernel/core_pattern may name, and the process lives until that has
    # read it; 1 means neither (see core(5), fs/coredump.c).
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
    raise OSError(f"/proc/self/status does not tell {key}")


def _machine_tasks() -> int:
    """Threads of all processes: never fewer than those of this user, and cheaper to know."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
