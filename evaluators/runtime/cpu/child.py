"""A player as the fork server holds it: from its fork to its burial, let go and stopped.

Stopped is SIGSTOP, to all of its threads: what it runs while nobody asks it is nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from evaluators.sandbox.limits import Limits, apply_limits
from evaluators.sandbox.usage import Allowance

PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_USUAL_SLACK = 50_000
"""Nanoseconds that a sleep may take longer."""
_OUTPUT_BYTES = 1 << 16
CHANNEL, ARENA = 3, 4
"""File descriptors of every player: where it gets orders, and the memory of its inputs."""


def prctl(option: int, value: int) -> None:
    """See prctl(2)."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def become_subreaper() -> None:
    """Orphans among what descends from this process become its children."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def become_runner(
    order: dict[str, Any], limits: Limits, home: dict[str, str], output: int, channel: int, arena: int
) -> None:
    """Everything that sets a child apart, before it runs foreign code."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_TIMERSLACK, _USUAL_SLACK)
    folder = order["folder"]
    os.chdir(folder)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    high = [os.dup2(fd, 100 + i) for i, fd in enumerate((os.open(os.devnull, os.O_RDONLY), output, channel, arena))]
    for fd, number in zip((high[0], high[1], high[1], high[2], high[3]), (0, 1, 2, CHANNEL, ARENA), strict=True):
        os.dup2(fd, number)
    os.closerange(ARENA + 1, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(home)
    os.environ.update({"HOME": folder, "TMPDIR": folder, **order["environment"]})
    apply_limits(limits)


@dataclass
class Child:
    """A child, from its fork to its burial."""

    pid: int
    channel: socket.socket
    output: int
    folder: str
    allowance: Allowance | None
    """None: nobody looks."""
    arena: mmap.mmap
    """The memory of its inputs."""
    unseen: int = 0
    """Nanoseconds that it has run since somebody looked at what it holds."""
    told: bytearray = field(default_factory=bytearray)
    stopped: bool = False
    poll: select.poll = field(default_factory=select.poll)

    def drain(self) -> bool:
        """Take some of what it has printed and keep the last of all. False where there is nothing."""
        try:
            part = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return False
        self.told += part
        del self.told[:-_OUTPUT_BYTES]
        return bool(part)

    def go(self) -> None:
        if self.stopped:
            self.stopped = False
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGCONT)

    def place(self, cores: list[int]) -> list[int]:
        """While it stands still: one thread to a core, the main thread to the first. Returns the threads.

        Threads that are let go at the same time would else share a core, with one of them spinning, until the scheduler parts
        them some milliseconds later.
        """
        threads = [self.pid]
        with contextlib.suppress(FileNotFoundError):
            threads += sorted(int(name) for name in os.listdir(f"/proc/{self.pid}/task") if int(name) != self.pid)
        if len(cores) > 1:
            for i, thread in enumerate(threads):
                core = cores[1 + (i - 1) % (len(cores) - 1)] if i else cores[0]
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, {core})
        return threads

    def free(self, threads: list[int], cores: list[int]) -> None:
        """Let them move again, and threads that they start lie anywhere."""
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cores)

    def kill(self) -> None:
        for send in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self.pid, signal.SIGKILL)

    def halt(self) -> bool:
        """Stop it. True where it stands still or is dead; False where it does not within a second, which only tricks bring about."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGSTOP)
        self.stopped = True
        deadline = time.perf_counter_ns() + 1_000_000_000
        while os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            left = deadline - time.perf_counter_ns()
            if left < 0:
                return False
            signal.sigtimedwait({signal.SIGCHLD}, left / 1e9)
        return True
