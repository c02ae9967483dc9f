"""What processes hold and leave behind: children, descriptors, files, segments of shared memory, resident memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def children(pid: int) -> set[int]:
    """Of all threads of a process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def resident_bytes(pid: int) -> int:
    """RSS, shared pages among it."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def segments() -> set[str]:
    """System V shared memory: lines of the kernel's list."""
    return set(Path("/proc/sysvipc/shm").read_text().splitlines()[1:])


def entries(*folders: Path) -> set[str]:
    """What lies in these folders, by path."""
    return {entry.path for folder in folders if folder.is_dir() for entry in os.scandir(folder)}


@dataclass(frozen=True)
class TensorElements:
    """By a judge and its fork server."""

    judge_bytes: int
    server_bytes: int
    judge_descriptors: int
    server_descriptors: int
    judge_children: int
    server_children: int

    @classmethod
    def by(cls, judge: int, server: int) -> TensorElements:
        return cls(
            resident_bytes(judge),
            resident_bytes(server),
            descriptors(judge),
            descriptors(server),
            len(children(judge)),
            len(children(server)),
        )
