"""Stages of a job: its child says when one is done, and waits until the next one may begin."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from typing import Any

_DONE, _BEGINS = 3, 4
"""File descriptors of every child."""


def next_stage() -> None:
    """Called in a child: end this stage, return when the next one begins."""
    os.write(_DONE, b".")
    os.read(_BEGINS, 1)


class StageClock:
    """The server's end: how long the child may go on. A limit in seconds holds for each stage; the last of several begins when the
    worker says so, and the wait for that does not count."""

    def __init__(self, limits: list[float]) -> None:
        self._limits = limits
        self.stage = 0
        self._since = time.monotonic()
        self.done, self._child_done = os.pipe()
        self._child_begins, self._begins = os.pipe()
        os.set_blocking(self.done, False)

    @property
    def seconds(self) -> float:
        """Spent in this stage."""
        return time.monotonic() - self._since

    @property
    def left(self) -> float:
        return self._limits[self.stage] - self.seconds

    @property
    def total(self) -> float:
        return sum(self._limits)

    def become_child(self) -> None:
        """In the child: keep its two ends, and no descriptor above them."""
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (self._child_done, self._child_begins)]
        os.dup2(ends[0], _DONE)
        os.dup2(ends[1], _BEGINS)
        os.closerange(_BEGINS + 1, os.sysconf("SC_OPEN_MAX"))

    def become_parent(self) -> None:
        os.close(self._child_done)
        os.close(self._child_begins)

    def advance(self, channel: socket.socket, lines: Any) -> bool:
        """Begin the next stage; a child that asks for more stages than there are gets nothing. False where the worker has gone."""
        if self.stage + 1 == len(self._limits):
            return True
        self.stage += 1
        if self.stage + 1 == len(self._limits):
            channel.sendall(b'{"ready": true}\n')
            if not lines.readline():
                return False
        self._since = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            os.write(self._begins, b".")
        return True

    def close(self) -> None:
        os.close(self.done)
        os.close(self._begins)
