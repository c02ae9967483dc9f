"""Ends what a process has started when it dies, however it dies: vLLM's own processes would go on and hold their GPUs.

Runs as a program of its own, with the process to watch over as its argument.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys

import psutil

_GLANCE_SECONDS = 0.5


def guarded() -> None:
    """Have this process watched over until it ends."""
    subprocess.Popen(
        [sys.executable, __file__, str(os.getpid())],
        stdin=subprocess.PIPE,  # Ours alone: it ends when we do.
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def watch(pid: int) -> None:
    """Until our input ends; then whatever that process had started, at our last glance, is killed."""
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
            process.kill()  # Only if it is still the process that we saw.
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    watch(int(sys.argv[1]))
