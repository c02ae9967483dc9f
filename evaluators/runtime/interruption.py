"""A flag that ends the work of another thread: it wakes whoever polls its descriptor, in this process or in a child."""

from __future__ import annotations

import os


class InterruptedJobError(Exception):
    """Nobody waits for the job any more."""


class Interruption:
    """Set from one thread, looked at by another. Safe to set several times."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable while it is set. Nobody but `clear` reads it."""
        self._is_set = False

    @property
    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Before the next job."""
        if self._is_set:
            os.eventfd_read(self.fd)
            self._is_set = False

    def check(self) -> None:
        """Raises InterruptedJobError where it is set."""
        if self._is_set:
            raise InterruptedJobError

    def close(self) -> None:
        """Once nobody uses it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
