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
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from evaluators.folders import private_folder
from evaluators.runtime.interruption import Interruption

_EVERYONES = Path("/tmp")
"""The folder of lock folders, which does not depend on the environment."""
GiveWay = Callable[[int], None]
"""A function that stops a process group while another process measures."""
_GLANCE_SECONDS = 0.02
"""The seconds between two checks for an interruption while waiting."""
_STEP_SECONDS = 0.002
"""The seconds between two attempts to take the lock again."""


def lock_folder() -> Path:
    """Return the folder of this user's locks, which is the same in every session. Raises UserError as `private_folder` does."""
    return private_folder(_EVERYONES if _EVERYONES.is_dir() else Path(tempfile.gettempdir()), "kernelevolve")


class DeviceLock:
    """The lock of a device: `shared` for compiling and checking, `exclusive` for measuring."""

    def __init__(
        self, folder: Path | None = None, interruption: Interruption | None = None, *, device: str = "cpu"
    ) -> None:
        """Create the lock without taking it. Signals are handled while it waits.

        Args:
            folder: The folder of the lock files, or None for `lock_folder()`.
            interruption: A flag. While it is set, waiting raises InterruptedJobError.
            device: The device on this machine: `cpu`, or an accelerator with a lock of its own.
        """
        self._device = device
        self._folder = folder or lock_folder()
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
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(handle, kind)
        try:
            yield handle
        finally:
            os.close(handle)

    def _wait(self, handle: int, kind: int) -> None:
        """Wait for the lock in a thread, since flock(2) itself cannot be interrupted. Closes the handle if it raises."""
        ours, taken, given_up = threading.Lock(), threading.Event(), False

        def take() -> None:
            fcntl.flock(handle, kind)
            with ours:
                taken.set()
                if given_up:
                    os.close(handle)

        threading.Thread(target=take, daemon=True).start()
        try:
            while not taken.wait(_GLANCE_SECONDS):
                if self._interruption is not None:
                    self._interruption.check()
        except BaseException:
            with ours:
                given_up = True
                if taken.is_set():
                    os.close(handle)
            raise

    @contextmanager
    def shared(self, group: int | None = None) -> Iterator[GiveWay]:
        """Hold the lock together with other shared holders.

        Args:
            group: The id of a process group that works for the caller already. It is stopped until the lock is held.

        Yields:
            A function that takes the id of a process group that works for the caller. If a process measures or waits to measure, the
            function stops the group and releases the lock until measuring is over. The caller calls it regularly.
        """
        if group is not None:
            handle = self._open("device")
            try:
                if not self._taken_in_turn(handle):
                    self._stop_until_taken(handle, group)
                yield partial(self._give_way, handle)
            finally:
                os.close(handle)
            return
        with self._lock("queue", fcntl.LOCK_SH):
            pass
        with self._lock("device", fcntl.LOCK_SH) as handle:
            yield partial(self._give_way, handle)

    def _give_way(self, handle: int, group: int) -> None:
        if not self._queue_is_free():
            fcntl.flock(handle, fcntl.LOCK_UN)
            self._stop_until_taken(handle, group)

    def _stop_until_taken(self, handle: int, group: int) -> None:
        _signal(group, signal.SIGSTOP)
        try:
            while not self._taken_in_turn(handle):
                if self._interruption is not None:
                    self._interruption.check()
                time.sleep(_STEP_SECONDS)
        finally:
            _signal(group, signal.SIGCONT)

    def _taken_in_turn(self, handle: int) -> bool:
        """Take the lock shared if nobody measures or waits to measure. Return whether it was taken."""
        return self._queue_is_free() and _taken(handle)

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
