"""A watchdog that kills a process's children when it dies, since vLLM's processes would survive and keep their GPUs.

It runs as a program of its own, with the id of the watched process as its argument.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys

import psutil

_GLANCE_SECONDS = 0.5


def guarded() -> None:
    """Start a watchdog for this process."""
    subprocess.Popen(
        [sys.executable, __file__, str(os.getpid())],
        stdin=subprocess.PIPE,  # Only this process holds the other end, so the input ends when this process does.
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def watch(pid: int) -> None:
    """Wait until the standard input ends, then kill the descendants that the process had when they were last listed."""
    known: set[psutil.Process] = set()
    watched = psutil.Process(pid)
    while not select.select([sys.stdin], [], [], _GLANCE_SECONDS)[0]:
        try:
            known.update(watched.children(recursive=True))
        except psutil.NoSuchProcess:
            break
        known = {process for process in known if process.is_running() and process.pid != os.getpid()}
    for process in known:
        try:
            process.kill()  # psutil does not kill a new process with a reused id.
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    watch(int(sys.argv[1]))
