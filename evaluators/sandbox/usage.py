"""The resources of a runner process that setrlimit(2) does not bound: shared memory, files and threads.

The kernel limits private memory. It does not limit shared maps, memfds, files in a folder that is in memory, or threads per process. The
fork server therefore checks a running process every few milliseconds, and ends one that holds more than it may.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from kernelevolve.core.record import Record

_BLOCK = 512
"""The bytes of one unit of `st_blocks`."""


class Allowance(Record):
    """The resources that a runner process may hold."""

    memory_bytes: int = Field(gt=0)
    """The bytes of private memory beyond `held_bytes`, shared memory, files in its folder, and open files that are in no folder, together.
    A file that is also mapped counts twice."""
    files: int = Field(gt=0)
    """The number of files and folders in its folder."""
    threads: int = Field(gt=0)
    """The number of its threads."""


def private_bytes() -> int:
    """Return the bytes of resident private memory of this process. A fork of it starts with as much."""
    return _status(os.getpid())["RssAnon"] << 10


def excess(pid: int, folder: str, allowance: Allowance, held_bytes: int) -> str | None:
    """Return a text that says what the process `pid` holds too much of, or None if it keeps within its allowance or is dead.

    Args:
        pid: The process.
        folder: The folder of the process.
        allowance: What the process may hold.
        held_bytes: The private memory with which the process started.
    """
    try:
        status = _status(pid)
        if "RssAnon" not in status:
            return None  # A zombie.
        if status["Threads"] > allowance.threads:
            return f"more than {allowance.threads} threads"
        left = allowance.memory_bytes - max(0, (status["RssAnon"] << 10) - held_bytes) - (status["RssShmem"] << 10)
        if left < 0:
            return "more memory than it may have"
        for number, size in enumerate(_folder_sizes(folder)):
            left -= size
            if number >= allowance.files:
                return f"more than {allowance.files} files"
        left -= sum(_nameless_sizes(pid))
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        return f"files that cannot be counted: {error.strerror}"
    return "more memory than it may have, in files" if left < 0 else None


def _status(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    wanted = ("Threads:", "RssAnon:", "RssShmem:")
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(wanted)}


def _folder_sizes(folder: str) -> Iterator[int]:
    """Yield the bytes of each file and folder below `folder`."""
    left = [folder]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    left.append(entry.path)
                yield found.st_blocks * _BLOCK


def _nameless_sizes(pid: int) -> Iterator[int]:
    """Yield the bytes of each open file that is in no folder: memfds and removed files."""
    seen = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found = os.stat(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 0 and (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            yield found.st_blocks * _BLOCK
