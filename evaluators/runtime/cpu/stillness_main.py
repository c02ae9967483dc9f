"""The process that stops bystanders while a worker measures, and lets them go on when it is done, or dies, or after a while.

Its argument is the descriptor of a socket. Each line from there is an order: `keep` with the bystanders as PID:START, or `release`. It
answers each with one byte.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from kernelevolve.core.bystanders import Bystander

KEEP, RELEASE = "keep", "release"
"""The first words of orders."""
_DONE = b"\n"
_STOPPED_MILLISECONDS = 450
"""The most milliseconds for which bystanders are stopped at a time."""
_BREAK_MILLISECONDS = 25
"""The milliseconds for which they then go on."""


def keep_stopped(handles: list[int], channel: socket.socket) -> None:
    """Stop processes, say so, and keep them stopped, except for short breaks, until something arrives. `handles` are pidfds."""
    arrived = select.poll()
    arrived.register(channel, select.POLLIN)
    said = False
    while True:
        _signal(handles, signal.SIGSTOP)
        try:
            if not said:
                channel.sendall(_DONE)
                said = True
            if arrived.poll(_STOPPED_MILLISECONDS):
                return
        finally:
            _signal(handles, signal.SIGCONT)
        if arrived.poll(_BREAK_MILLISECONDS):
            return


def opened(bystanders: list[Bystander]) -> list[int]:
    """Return a pidfd of each bystander that runs. One that somebody else has stopped is left alone."""
    found = []
    for bystander in bystanders:
        with suppress(OSError):
            handle = os.pidfd_open(bystander.pid)
            if bystander.is_alive and not _is_stopped(bystander.pid):
                found.append(handle)
            else:
                os.close(handle)
    return found


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in ("T", "t")


def _signal(handles: list[int], number: int) -> None:
    for handle in handles:
        with suppress(OSError):
            signal.pidfd_send_signal(handle, number)


def _bystander(text: str) -> Bystander:
    pid, _, started = text.partition(":")
    return Bystander(int(pid), started)


def main() -> None:
    """Carry out orders until the input ends."""
    if os.fork():  # What kills the children of a worker must not hit this process while it has stopped others.
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as channel, channel.makefile("rb") as orders, suppress(OSError):
        for line in orders:
            word, *rest = line.decode().split()
            if word == RELEASE:
                channel.sendall(_DONE)
                continue
            with ExitStack() as stack:
                handles = opened([_bystander(text) for text in rest])
                for handle in handles:
                    stack.callback(os.close, handle)
                keep_stopped(handles, channel)


if __name__ == "__main__":
    main()
