"""A limit counts the time in which a player has its cores: a crowd of other programs makes nobody late, and nobody's sleep longer."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devices.cpu import usable_cores
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.noise import others_running
from evaluators.runtime.cpu.runner import CpuRunner
from evaluators.verdict import FailedError
from kernelevolve.core.evaluation import Status
from tests.evaluators.silu_mul import TASK

LIMIT = 1.5
BUSY = "import time\nbegin = time.process_time()\nwhile time.process_time() < begin + {}: pass\n"
KERNEL = "import torch\n\n\nclass ModelNew(torch.nn.Module):\n    pass\n"


@contextmanager
def crowd() -> Iterator[None]:
    """Four programs for each core, which want all of it."""
    command = [sys.executable, "-c", BUSY.format(60)]
    # Each in a session of its own: Linux may share the cores between sessions (sched_autogroup), not between processes.
    busy = [subprocess.Popen(command, start_new_session=True) for _ in range(4 * usable_cores())]
    try:
        while (others_running() or 0) < 3 * usable_cores():
            time.sleep(0.01)
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer(threads=1, confined=True)
    made.start()
    yield made
    made.close()


def loaded(server: ForkServer, before: str) -> float:
    """Seconds that a kernel takes to be loaded beside a crowd, with so much left to do first."""
    with server.spawn(1 << 20, trusted=False, memory_gb=2.0, cpu_seconds=100.0) as process:
        runner = CpuRunner(process)
        runner.allow(LIMIT)
        with crowd():
            begin = time.monotonic()
            runner.load_kernel(before + KERNEL, TASK, None)
            return time.monotonic() - begin


@pytest.mark.alone
def test_what_others_keep_from_its_cores_is_not_late(server: ForkServer) -> None:
    assert loaded(server, BUSY.format(1.0)) > LIMIT, "it would have been late by the clock"


@pytest.mark.alone
@pytest.mark.parametrize(("before", "most"), [("import time\ntime.sleep(60)\n", 2.0), ("while True: pass\n", 10.0)])
def test_what_sleeps_or_does_not_end_is_late_all_the_same(server: ForkServer, before: str, most: float) -> None:
    begin = time.monotonic()
    with pytest.raises(FailedError) as raised:
        loaded(server, before)
    assert raised.value.failure.status is Status.TIMEOUT
    assert time.monotonic() - begin < most * LIMIT + 3.0
