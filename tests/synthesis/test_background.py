"""Work in the background: it stands still while somebody measures, and takes no processor from others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from evaluators.runtime.device_lock import DeviceLock
from kernelevolve.synthesis.background import BackgroundWork


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[psutil.Process]:
    """A process in a group and a session of its own that never rests, and a lock of this test's own."""
    monkeypatch.setattr("evaluators.runtime.device_lock.machine_folder", lambda: tmp_path)
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    yield psutil.Process(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(process: psutil.Process, *states: str) -> None:
    deadline = time.monotonic() + 10.0
    while process.status() not in states:
        assert time.monotonic() < deadline, process.status()
        time.sleep(0.005)


def test_it_stands_still_while_somebody_measures_and_goes_on_afterwards(busy: psutil.Process) -> None:
    background = BackgroundWork(busy.pid)
    try:
        for _ in range(2):
            with DeviceLock().exclusive():
                wait_for(busy, psutil.STATUS_STOPPED)
            wait_for(busy, psutil.STATUS_RUNNING)
    finally:
        background.end()


def test_it_stands_still_where_somebody_measures_when_it_begins(busy: psutil.Process) -> None:
    with DeviceLock().exclusive():
        background = BackgroundWork(busy.pid)
        wait_for(busy, psutil.STATUS_STOPPED)
    wait_for(busy, psutil.STATUS_RUNNING)
    background.end()


def test_it_can_end_while_somebody_measures(busy: psutil.Process) -> None:
    with DeviceLock().exclusive():
        background = BackgroundWork(busy.pid)
        wait_for(busy, psutil.STATUS_STOPPED)
        background.end()
        wait_for(busy, psutil.STATUS_RUNNING)


def test_it_has_the_least_priority(busy: psutil.Process) -> None:
    background = BackgroundWork(busy.pid)
    background.end()
    assert busy.nice() == 19
    autogroup = Path(f"/proc/{busy.pid}/autogroup")
    if autogroup.exists():
        assert autogroup.read_text().split()[-1] == "19"


def test_it_goes_on_where_nobody_looks_after_it_any_more(busy: psutil.Process) -> None:
    background = BackgroundWork(busy.pid)
    background.end()
    with DeviceLock().exclusive():
        time.sleep(0.05)
        assert busy.status() == psutil.STATUS_RUNNING
