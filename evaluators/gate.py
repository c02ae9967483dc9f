"""One machine, one stopwatch: work that disturbs measuring shares a lock, measuring takes it alone.

Two lock files. Who measures closes the turnstile first, so that newcomers wait behind it and measuring never starves. The kernel
releases both when a process dies. All runs of one user on one machine share the gate, whatever their environment says of temporary
folders. Users do not share it: a lock that another user can take is one that another user can keep.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evaluators.folders import private_folder

_EVERYONES = Path("/tmp")


def gate_folder() -> Path:
    """The folder of this user's locks, the same in every session. Raises UserError as `private_folder` does."""
    return private_folder(_EVERYONES if _EVERYONES.is_dir() else Path(tempfile.gettempdir()), "kernelevolve")


class Gate:
    """`shared()` for compiling and checking, `exclusive()` for measuring on the CPU."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or gate_folder()

    def _open(self, name: str) -> int:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._folder / name, flags, 0o600)
        except FileNotFoundError:  # Old files in /tmp are removed on many machines, folders too.
            self._folder.mkdir(mode=0o700, exist_ok=True)
            return os.open(self._folder / name, flags, 0o600)

    @contextmanager
    def _lock(self, name: str, kind: int) -> Iterator[None]:
        handle = self._open(name)
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
