"""A runner process as the fork server holds it, from its fork until it is waited for.

The server stops it with SIGSTOP, which stops all of its threads, so it runs nothing while it has no order to carry out.
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
"""The default timer slack: the nanoseconds by which a sleep may take longer."""
_OUTPUT_BYTES = 1 << 16
"""The most bytes of a process's printed output that are kept."""
READY = '{"calls"'
"""The beginning of the reply of a process that is ready for a timed block. A process that sends it wrongly harms only itself."""
CHANNEL, ARENA = 3, 4
"""The file descriptors of the channel for orders and of the memory for inputs, in every runner process."""


def prctl(option: int, value: int) -> None:
    """Call prctl(2)."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def become_subreaper() -> None:
    """Make orphaned descendants of this process its children."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def become_runner(
    order: dict[str, Any], limits: Limits, home: dict[str, str], output: int, channel: int, arena: int
) -> None:
    """Turn a forked child into a runner process with its own session, folder, environment, descriptors and limits.

    Args:
        order: The order of the fork server to spawn it.
        limits: The limits of the process.
        home: The environment variables that it keeps.
        output: The descriptor of the pipe for its output.
        channel: The descriptor of the channel for orders.
        arena: The descriptor of the memory for inputs.
    """
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
    """A runner process."""

    pid: int
    """The id of the process, its session and its process group."""
    channel: socket.socket
    """The channel for orders and replies."""
    output: int
    """The descriptor from which its printed output is read."""
    folder: str
    """The folder of the process."""
    allowance: Allowance | None
    """The resources that the process may hold, or None if that is not checked."""
    arena: mmap.mmap
    """The memory of its inputs."""
    unseen: int = 0
    """The nanoseconds that it has run since its resources were last checked."""
    told: bytearray = field(default_factory=bytearray)
    """The end of its printed output."""
    stopped: bool = False
    """Whether it is stopped."""
    starts_threads: bool = False
    """Whether its calls start threads that do a part of the work and end."""
    poll: select.poll = field(default_factory=select.poll)
    """The poll object with which the server waits for the process."""

    def drain(self) -> bool:
        """Read some of the printed output, and keep the end of all of it. Return False if there was nothing to read."""
        try:
            part = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return False
        self.told += part
        del self.told[:-_OUTPUT_BYTES]
        return bool(part)

    def go(self) -> None:
        """Let the process continue if it is stopped."""
        if self.stopped:
            self.stopped = False
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGCONT)

    def place(self, cores: list[int]) -> list[int]:
        """Bind each thread of the process to a core, the main thread to the first one. Return the threads.

        Otherwise threads that continue at the same time could share a core, one of them spinning, until the scheduler separates them.
        That takes some milliseconds, and a second on a machine where another program uses the other core. A process that starts threads is
        left alone: it could start them before `free`, and they would stay on its core.
        """
        threads = [self.pid]
        with contextlib.suppress(FileNotFoundError):
            threads += sorted(int(name) for name in os.listdir(f"/proc/{self.pid}/task") if int(name) != self.pid)
        if len(cores) > 1 and not self.starts_threads:
            for i, thread in enumerate(threads):
                core = cores[1 + (i - 1) % (len(cores) - 1)] if i else cores[0]
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, {core})
        return threads

    def free(self, threads: list[int], cores: list[int]) -> None:
        """Let threads run on all cores again, unless there is one for each core and they start no others.

        Fewer threads can then avoid a core that another program uses. Threads that are started inherit the cores of their creator.
        """
        if len(threads) != len(cores) or self.starts_threads:
            for thread in threads:
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, cores)

    def kill(self) -> None:
        """Kill the process and its process group."""
        for send in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self.pid, signal.SIGKILL)

    def halt(self) -> bool:
        """Stop the process.

        Returns:
            Whether it stopped or died within a second. Only a process that works against it does not.
        """
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
