"""Bystanders: processes of this user's runs that may be stopped for a moment while another one measures on the processor.

Even an idle Ray process wakes up a hundred times per second. On a machine with few cores, the actors of a run thereby disturb every other
timed block. They register themselves here, and whoever measures on the processor stops them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kernelevolve.core.private_folder import machine_folder


@dataclass(frozen=True)
class Bystander:
    """A process that may be stopped."""

    pid: int
    """The id of the process."""
    started: str
    """When it started, in clock ticks of proc(5). With the same id, a later process has another start."""

    @property
    def is_alive(self) -> bool:
        """Whether the process lives and is not another one with the same id."""
        return start_of(self.pid) == self.started


def register_bystander() -> None:
    """Register this process. Registering again does nothing. Where there is no room for the record, the process is not stopped."""
    pid = os.getpid()
    folder = machine_folder() / "bystanders"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / str(pid)).write_text(start_of(pid) or "")


def bystanders() -> list[Bystander]:
    """Return the registered processes that live, without this one. The records of dead ones are removed."""
    found = []
    with suppress(OSError):
        for record in (machine_folder() / "bystanders").iterdir():
            with suppress(OSError, ValueError):
                bystander = Bystander(int(record.name), record.read_text())
                if not bystander.is_alive:
                    record.unlink()
                elif bystander.pid != os.getpid():
                    found.append(bystander)
    return found


def start_of(pid: int) -> str | None:
    """Return when a process started, in clock ticks of proc(5), or None if there is none with this id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return None
