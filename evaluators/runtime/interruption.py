"""A flag by which one thread ends the work of another. It wakes everybody who polls its descriptor, in this process or in a child."""

from __future__ import annotations

import os


class InterruptedJobError(Exception):
    """The job was interrupted because nobody waits for its result any more."""


class Interruption:
    """A flag that one thread sets and others check or poll. Setting it again does nothing."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """The descriptor that is readable while the flag is set. Only `clear` may read from it."""
        self._is_set = False

    @property
    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._is_set

    def set(self) -> None:
        """Set the flag."""
        if not self._is_set:
            self._is_set = True
            os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Clear the flag, before the next job."""
        if self._is_set:
            os.eventfd_read(self.fd)
            self._is_set = False

    def check(self) -> None:
        """Raise InterruptedJobError if the flag is set."""
        if self._is_set:
            raise InterruptedJobError

    def close(self) -> None:
        """Close the descriptor. The flag must not be used afterwards."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
