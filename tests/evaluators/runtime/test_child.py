"""The cores of a runner's threads: bound where there is one thread for each core, free otherwise."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from evaluators.runtime.cpu.child import Child

CORES = sorted(os.sched_getaffinity(0))
THREADS = """
import sys, threading
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    """A process with so many threads."""
    process = subprocess.Popen(
        [sys.executable, "-c", THREADS, str(request.param)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Child(process.pid, ours, -1, "", None, mmap.mmap(-1, mmap.PAGESIZE))
    process.communicate()


@pytest.mark.parametrize("child", [len(CORES)], indirect=True)
def test_one_thread_for_each_core_has_it_for_itself(child: Child) -> None:
    threads = child.place(CORES)
    child.free(threads, CORES)
    assert [os.sched_getaffinity(thread) for thread in threads] == [{core} for core in CORES]


@pytest.mark.parametrize("child", [len(CORES)], indirect=True)
def test_threads_that_start_others_are_let_go(child: Child) -> None:
    threads = child.place(CORES)
    child.starts_threads = True
    child.free(threads, CORES)
    assert all(os.sched_getaffinity(thread) == set(CORES) for thread in threads)
    child.place(CORES)
    assert all(os.sched_getaffinity(thread) == set(CORES) for thread in threads), (
        "none that it starts is bound before `free`"
    )


@pytest.mark.parametrize("child", [len(CORES) - 1, len(CORES) + 1], indirect=True)
def test_fewer_or_more_threads_than_cores_are_let_go(child: Child) -> None:
    threads = child.place(CORES)
    child.free(threads, CORES)
    assert all(os.sched_getaffinity(thread) == set(CORES) for thread in threads)
