"""Ctrl-C and SIGTERM, which schedulers send, as one kind of interrupt that cannot be lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Interrupts:
    """Raises KeyboardInterrupt where a signal arrives, and again in `check`.

    Where it arrives may be a callback or a finalizer, of Ray's for instance, and what is raised there goes no further.
    """

    def __init__(self) -> None:
        self._arrived = False

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal has arrived since `listen` began."""
        if self._arrived:
            raise KeyboardInterrupt

    @contextmanager
    def listen(self) -> Iterator[None]:
        """For the length of the block; outside of the main thread, where no signals arrive, nothing happens.

        To be entered after Ray's start: Ray sets a handler of SIGTERM too.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        self._arrived = True
        raise KeyboardInterrupt
