"""The device lock: a writer-preferring readers-writer lock between the processes of one user on one machine.

Measuring takes the lock exclusively; work that would disturb measuring takes it shared. Each device has
two lock files. A process that wants to measure first locks `queue`, so that later shared holders wait behind it and measuring never
starves, and then locks `device`. The kernel
releases both when the process dies. All runs of a user on a machine use the same files, whatever their environment says about temporary
folders. Different users do not share a lock, because another user could keep it forever.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from evaluators.runtime.interruption import Interruption
from kernelevolve.core.private_folder import machine_folder

GiveWay = Callable[[int], None]
"""A function that stops a process group while another process measures."""
_GLANCE_MILLISECONDS = 100
"""The milliseconds after which a waiting thread runs Python code again, in which Ray can raise an exception to cancel its task."""


class DeviceLock:
    """The lock of a device: `shared` for compiling and checking, `exclusive` for measuring."""

    def __init__(
        self, folder: Path | None = None, interruption: Interruption | None = None, *, device: str = "cpu"
    ) -> None:
        """Create the lock without taking it. Signals are handled while it waits.

        Args:
            folder: The folder of the lock files, or None for `machine_folder()`.
            interruption: A flag. While it is set, waiting raises InterruptedJobError.
            device: The device on this machine: `cpu`, or an accelerator with a lock of its own.
        """
        self._device = device
        self._folder = folder or machine_folder()
        self._interruption = interruption

    def _open(self, name: str) -> int:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._folder / f"{self._device}.{name}", flags, 0o600)
        except FileNotFoundError:  # Many systems remove old files and folders from /tmp.
            self._folder.mkdir(mode=0o700, exist_ok=True)
            return os.open(self._folder / f"{self._device}.{name}", flags, 0o600)

    @contextmanager
    def _lock(self, name: str, kind: int) -> Iterator[int]:
        handle = self._open(name)
        try:
            self._take(handle, kind)
            yield handle
        finally:
            os.close(handle)

    def _take(self, handle: int, kind: int) -> None:
        """Take the lock. If it raises, the lock is free as soon as the caller has closed the handle."""
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(handle, kind)

    def _wait(self, handle: int, kind: int) -> None:
        """Wait for the lock in a thread, since flock(2) itself cannot be interrupted."""
        own, taken = os.dup(handle), os.eventfd(0, os.EFD_CLOEXEC)
        told = os.dup(taken)

        def take() -> None:
            try:
                fcntl.flock(own, kind)
            finally:
                os.close(own)
                os.eventfd_write(told, 1)
                os.close(told)

        threading.Thread(target=take, daemon=True).start()
        events = select.poll()
        events.register(taken, select.POLLIN)
        if self._interruption is not None:
            events.register(self._interruption.fd, select.POLLIN)
        try:
            while not any(fd == taken for fd, _ in events.poll(_GLANCE_MILLISECONDS)):
                if self._interruption is not None:
                    self._interruption.check()
        finally:
            os.close(taken)

    @contextmanager
    def shared(self, group: int | None = None) -> Iterator[GiveWay]:
        """Hold the lock together with other shared holders.

        Args:
            group: The id of a process group that works for the caller already. It is stopped until the lock is held.

        Yields:
            A function that takes the id of a process group that works for the caller. If a process measures or waits to measure, the
            function stops the group and releases the lock until measuring is over. The caller calls it regularly.
        """
        handle = self._open("device")
        try:
            if group is None:
                self._take_in_turn(handle)
            elif not (self._queue_is_free() and _taken(handle)):
                self._stop_until_taken(handle, group)
            yield partial(self._give_way, handle)
        finally:
            os.close(handle)

    def _give_way(self, handle: int, group: int) -> None:
        if not self._queue_is_free():
            fcntl.flock(handle, fcntl.LOCK_UN)
            self._stop_until_taken(handle, group)

    def _stop_until_taken(self, handle: int, group: int) -> None:
        _signal(group, signal.SIGSTOP)
        try:
            self._take_in_turn(handle)
        finally:
            _signal(group, signal.SIGCONT)

    def _take_in_turn(self, handle: int) -> None:
        """Take the lock shared, behind everybody who measures or waits to measure."""
        with self._lock("queue", fcntl.LOCK_SH):
            pass
        self._take(handle, fcntl.LOCK_SH)

    def _queue_is_free(self) -> bool:
        """Return whether nobody measures or waits to measure."""
        queue = self._open("queue")
        try:
            return _taken(queue)
        finally:
            os.close(queue)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone. The lock file `device` then contains the id of this process."""
        with self._lock("queue", fcntl.LOCK_EX), self._lock("device", fcntl.LOCK_EX) as handle:
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield

    def stopped_holder(self) -> int | None:
        """Return the id of the process that holds the lock exclusively but was stopped, by Ctrl-Z for example, or None.

        Until that process goes on or ends, nobody else can measure.
        """
        handle = self._open("device")
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 20, 0)
            return int(text) if text.isdigit() and _is_stopped(int(text)) else None
        finally:
            os.close(handle)
        return None


def _taken(handle: int) -> bool:
    """Take the lock shared if that is possible at once. Return whether it was."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _is_stopped(pid: int) -> bool:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return False
    return after_name.split()[0] in ("T", "t")
