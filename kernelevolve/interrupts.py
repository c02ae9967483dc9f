"""Handling of Ctrl-C and SIGTERM, which schedulers send, as one kind of interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Interrupts:
    """Raises KeyboardInterrupt when a signal arrives, and again in `check`.

    The second time is needed because the signal may arrive in a callback or a finalizer, for example of Ray, where
    the exception is swallowed.
    """

    def __init__(self) -> None:
        self._arrived = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has arrived since `listen` was entered."""
        if self._arrived:
            raise KeyboardInterrupt

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Handle signals for the duration of the block. Outside of the main thread this does nothing.

        Enter it after the start of Ray, which sets a handler of SIGTERM too.
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
