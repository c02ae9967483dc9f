"""One machine, one stopwatch: work that disturbs measuring shares a lock, measuring takes it alone.

Two lock files. Who measures closes the turnstile first, so that newcomers wait behind it and measuring never starves. The kernel
releases both when a process dies. All runs of one user on one machine share the gate, whatever their environment says of temporary
folders. Users do not share it: a lock that another user can take is one that another user can keep.
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
GiveWay = Callable[[int], None]
_GLANCE_SECONDS = 0.02
"""Between two looks at whether anybody still wants to wait."""
_STEP_SECONDS = 0.002


def lock_folder() -> Path:
    """The folder of this user's locks, the same in every session. Raises UserError as `private_folder` does."""
    return private_folder(_EVERYONES if _EVERYONES.is_dir() else Path(tempfile.gettempdir()), "kernelevolve")


class DeviceLock:
    """`shared()` for compiling and checking, `exclusive()` for measuring on the CPU."""

    def __init__(self, folder: Path | None = None, interruption: Interruption | None = None) -> None:
        """`interruption`: while it is set, waiting raises InterruptedJobError. Signals are handled while it waits."""
        self._folder = folder or lock_folder()
        self._interruption = interruption

    def _open(self, name: str) -> int:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._folder / name, flags, 0o600)
        except FileNotFoundError:  # Old files in /tmp are removed on many machines, folders too.
            self._folder.mkdir(mode=0o700, exist_ok=True)
            return os.open(self._folder / name, flags, 0o600)

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
        """In the kernel's queue, by a thread: flock(2) itself cannot be called off. Closes the handle where it raises."""
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
    def shared(self) -> Iterator[GiveWay]:
        """Yields what gives way: to be called now and then with a process group that works for the caller, which it stops until nobody
        measures or waits to."""
        with self._lock("turnstile", fcntl.LOCK_SH):
            pass
        with self._lock("machine", fcntl.LOCK_SH) as handle:
            yield partial(self._give_way, handle)

    def _give_way(self, handle: int, group: int) -> None:
        if self._open_now():
            return
        _signal(group, signal.SIGSTOP)
        try:
            fcntl.flock(handle, fcntl.LOCK_UN)
            while not (self._open_now() and _taken(handle)):
                if self._interruption is not None:
                    self._interruption.check()
                time.sleep(_STEP_SECONDS)
        finally:
            _signal(group, signal.SIGCONT)

    def _open_now(self) -> bool:
        """Whether the turnstile is."""
        turnstile = self._open("turnstile")
        try:
            return _taken(turnstile)
        finally:
            os.close(turnstile)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock("turnstile", fcntl.LOCK_EX), self._lock("machine", fcntl.LOCK_EX) as handle:
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield

    def stopped_holder(self) -> int | None:
        """The process that measures but was stopped (Ctrl-Z, say): until it goes on or ends, nobody else measures."""
        handle = self._open("machine")
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 20, 0)
            return int(text) if text.isdigit() and _is_stopped(int(text)) else None
        finally:
            os.close(handle)
        return None


def _taken(handle: int) -> bool:
    """Whether the shared lock could be had at once."""
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
