"""What a player holds beyond what setrlimit(2) bounds: shared memory, files, threads. Looked at from outside while it runs.

Private memory is limited by the kernel. Shared maps, memfds, files in a folder that lies in memory, and threads are not, for a process
alone: a player that holds more of them than it may is ended by the fork server, which glances at it every few milliseconds.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from kernelevolve.core.record import Record

_BLOCK = 512
"""Bytes, of `st_blocks`."""


class Allowance(Record):
    """What a player may hold."""

    memory_bytes: int = Field(gt=0)
    """Private memory beyond `held_bytes`, shared memory, and files: those in its folder, and those that it has open and no folder has.
    What is a file and mapped counts twice."""
    files: int = Field(gt=0)
    """In its folder, folders among them."""
    threads: int = Field(gt=0)


def private_bytes() -> int:
    """Resident private memory of this process, which a fork of it begins with."""
    return _status(os.getpid())["RssAnon"] << 10


def excess(pid: int, folder: str, allowance: Allowance, held_bytes: int) -> str | None:
    """What the process `pid` holds too much of, in words; None where nothing, or where it is dead."""
    try:
        told = _status(pid)
        if "RssAnon" not in told:
            return None  # A zombie.
        if told["Threads"] > allowance.threads:
            return f"more than {allowance.threads} threads"
        left = allowance.memory_bytes - max(0, (told["RssAnon"] << 10) - held_bytes) - (told["RssShmem"] << 10)
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
    """Of all that lies below it."""
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
    """Of open files that no folder has: memfds, and what was removed."""
    seen = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found = os.stat(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 0 and (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            yield found.st_blocks * _BLOCK
