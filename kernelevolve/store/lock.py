"""A lock that lets one driver write a graph. The operating system releases it when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from kernelevolve.core.errors import UserError

_POLL_SECONDS = 0.05


def lock_file(database: Path) -> Path:
    """Return the file whose lock marks the graph as being written."""
    return database.with_name(f".{database.stem}.lock")


class GraphLock:
    """The lock of a run's graph, held from construction to `release` or to the end of the process."""

    def __init__(self, database: Path, patience: float = 0.0) -> None:
        """Acquire the lock.

        Args:
            database: The database of the graph.
            patience: The seconds to wait for another holder: the processes of a killed run need a moment to end.

        Raises:
            UserError: Another process still holds the lock.
        """
        self._descriptor = os.open(lock_file(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(self._descriptor, 32, 0).decode().strip() or "unknown"
                    os.close(self._descriptor)
                    raise UserError(
                        f"another run uses {database} (process {holder}): wait for it to end, or choose another run.dir"
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                break
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Release the lock. Further calls have no effect."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
