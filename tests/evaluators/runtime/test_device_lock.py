"""The device lock: measuring excludes all other work, and records which process measures."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.interruption import InterruptedJobError, Interruption

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys
from pathlib import Path
from evaluators.runtime.device_lock import DeviceLock
with DeviceLock(Path(sys.argv[1])).exclusive():
    print("measuring", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def measuring(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that measures until the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "measuring\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def stops(pid: int) -> bool:
    """Whether the process stands still within 10 s: a signal was sent before, and is delivered when the process is scheduled."""
    deadline = time.monotonic() + 10
    while state(pid) != "T" and time.monotonic() < deadline:
        time.sleep(0.005)
    return state(pid) == "T"


def test_only_a_stopped_process_that_measures_holds_others_up(tmp_path: Path) -> None:
    lock = DeviceLock(tmp_path)
    assert lock.stopped_holder() is None
    with measuring(tmp_path) as other:
        assert lock.stopped_holder() is None
        os.kill(other.pid, signal.SIGSTOP)
        assert stops(other.pid)
        assert lock.stopped_holder() == other.pid
        os.kill(other.pid, signal.SIGCONT)
        deadline = time.monotonic() + 10
        while state(other.pid) == "T" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lock.stopped_holder() is None
    with lock.exclusive():
        pass
    assert lock.stopped_holder() is None


def test_asking_who_measures_does_not_keep_anybody_from_it(tmp_path: Path) -> None:
    lock = DeviceLock(tmp_path)
    with lock.shared():
        assert lock.stopped_holder() is None
    with measuring(tmp_path):
        pass
    with lock.exclusive():
        assert (tmp_path / "cpu.device").read_text() == str(os.getpid())


def test_waiting_can_be_called_off_and_leaves_no_lock(tmp_path: Path) -> None:
    interruption = Interruption()
    waiting = DeviceLock(tmp_path, interruption)
    for lock in (waiting.exclusive, waiting.shared):
        with measuring(tmp_path):
            threading.Timer(0.2, interruption.set).start()
            begin = time.monotonic()
            with pytest.raises(InterruptedJobError), lock():
                pass
            assert time.monotonic() - begin < 5.0
        interruption.clear()
        with DeviceLock(tmp_path).exclusive():
            pass
    interruption.close()


def test_a_process_that_works_stands_still_while_somebody_measures(tmp_path: Path) -> None:
    worker = subprocess.Popen(["sleep", "600"], process_group=0)
    try:
        with DeviceLock(tmp_path).shared() as give_way:
            give_way(worker.pid)
            assert state(worker.pid) != "T", "nobody measures"
            gone = threading.Event()
            stood_still = []

            def measure() -> None:
                with DeviceLock(tmp_path).exclusive():
                    stood_still.append(stops(worker.pid))
                    gone.wait(0.2)
                    stood_still.append(state(worker.pid) == "T")

            thread = threading.Thread(target=measure)
            thread.start()
            while thread.is_alive():
                give_way(worker.pid)
                time.sleep(0.005)
            assert stood_still == [True, True]
            deadline = time.monotonic() + 5
            while state(worker.pid) == "T" and time.monotonic() < deadline:
                time.sleep(0.01)
            assert state(worker.pid) == "S"
            handle = os.open(tmp_path / "cpu.device", os.O_RDWR)
            with pytest.raises(BlockingIOError):  # The lock was taken again.
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(handle)
    finally:
        worker.kill()
        worker.wait()


def test_giving_way_can_be_called_off(tmp_path: Path) -> None:
    interruption = Interruption()
    worker = subprocess.Popen(["sleep", "600"], process_group=0)
    try:
        lock = DeviceLock(tmp_path, interruption)
        waiting = threading.Event()

        def measure() -> None:
            with DeviceLock(tmp_path).exclusive():
                waiting.wait(10)

        def work() -> None:
            with lock.shared() as give_way:
                thread.start()
                threading.Timer(0.3, interruption.set).start()
                while True:
                    give_way(worker.pid)

        thread = threading.Thread(target=measure)
        with pytest.raises(InterruptedJobError):
            work()
        assert state(worker.pid) != "T"
        waiting.set()
        thread.join()
    finally:
        worker.kill()
        worker.wait()
        interruption.close()


def test_measuring_is_alone(tmp_path: Path) -> None:
    events: list[str] = []
    inside = threading.Event()

    def share() -> None:
        with DeviceLock(tmp_path).shared():
            events.append("shared")

    with DeviceLock(tmp_path).exclusive():
        thread = threading.Thread(target=share)
        thread.start()
        inside.wait(0.2)
        events.append("measured")
    thread.join()
    assert events == ["measured", "shared"]


def test_a_lock_folder_that_was_removed_is_created_again(tmp_path: Path) -> None:
    lock = DeviceLock(tmp_path / "lock")
    with lock.exclusive():
        assert sorted(path.name for path in (tmp_path / "lock").iterdir()) == ["cpu.device", "cpu.queue"]


def test_devices_of_a_machine_have_locks_of_their_own(tmp_path: Path) -> None:
    with DeviceLock(tmp_path).exclusive(), DeviceLock(tmp_path, device="cuda:0").exclusive():
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "cpu.device",
            "cpu.queue",
            "cuda:0.device",
            "cuda:0.queue",
        ]
