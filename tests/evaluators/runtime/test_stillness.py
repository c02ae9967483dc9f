"""Bystanders stand still during a measurement, and go on whatever happens to the process that measures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from evaluators.runtime.cpu.stillness import Stillness
from kernelevolve.core.bystanders import Bystander, start_of

HOLDER = """
import sys, time
from evaluators.runtime.cpu.stillness import Stillness
from kernelevolve.core.bystanders import Bystander
with Stillness().kept([Bystander(int(sys.argv[1]), sys.argv[2])]):
    print("kept", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def busy() -> Iterator[psutil.Process]:
    """A process that never rests."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


@pytest.fixture
def stillness() -> Iterator[Stillness]:
    made = Stillness()
    yield made
    made.close()


def bystander(process: psutil.Process) -> Bystander:
    return Bystander(process.pid, start_of(process.pid) or "")


def stopped(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_bystander_stands_still_and_goes_on(busy: psutil.Process, stillness: Stillness) -> None:
    for _ in range(3):
        with stillness.kept([bystander(busy)]):
            wait_until(lambda: stopped(busy))
        wait_until(lambda: not stopped(busy))


def test_a_long_measurement_has_breaks(busy: psutil.Process, stillness: Stillness) -> None:
    with stillness.kept([bystander(busy)]):
        wait_until(lambda: stopped(busy))
        wait_until(lambda: not stopped(busy))
        wait_until(lambda: stopped(busy))


def test_it_goes_on_if_the_process_that_measures_is_killed(busy: psutil.Process) -> None:
    known = bystander(busy)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(known.pid), known.started], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"kept\n"
    wait_until(lambda: stopped(busy))
    holder.kill()
    holder.communicate()
    wait_until(lambda: not stopped(busy))
    for _ in range(60):  # More than a break: nobody stops it again.
        assert not stopped(busy)
        time.sleep(0.01)


def test_what_somebody_else_stopped_stays_stopped(busy: psutil.Process, stillness: Stillness) -> None:
    os.kill(busy.pid, signal.SIGSTOP)
    wait_until(lambda: stopped(busy))
    with stillness.kept([bystander(busy)]):
        pass
    assert stopped(busy)


def test_another_process_with_the_same_id_is_left_alone(busy: psutil.Process, stillness: Stillness) -> None:
    with stillness.kept([Bystander(busy.pid, "1")]):
        for _ in range(20):
            assert not stopped(busy)
            time.sleep(0.002)


def test_measuring_goes_on_where_the_connection_is_lost_and_makes_another_one(
    busy: psutil.Process, stillness: Stillness
) -> None:
    with stillness.kept([bystander(busy)]):
        wait_until(lambda: stopped(busy))
    channel = stillness._channel
    assert channel is not None
    channel.close()
    with stillness.kept([bystander(busy)]):
        pass
    with stillness.kept([bystander(busy)]):
        wait_until(lambda: stopped(busy))
    wait_until(lambda: not stopped(busy))
