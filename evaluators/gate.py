"""One machine, one stopwatch: work that disturbs measuring shares a lock, measuring takes it alone.

Two lock files. Who measures closes the turnstile first, so that newcomers wait behind it and measuring never starves. The kernel
releases both when a process dies. Runs of one user on one machine share the gate.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def gate_folder() -> Path:
    """A private folder for this user's locks."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"kernelevolve-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    return folder


class Gate:
    """`shared()` for compiling and checking, `exclusive()` for measuring on the CPU."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or gate_folder()

    @contextmanager
    def _lock(self, name: str, kind: int) -> Iterator[None]:
        handle = os.open(self._folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, kind)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._lock("turnstile", fcntl.LOCK_SH):
            pass
        with self._lock("machine", fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock("turnstile", fcntl.LOCK_EX), self._lock("machine", fcntl.LOCK_EX):
            yield
