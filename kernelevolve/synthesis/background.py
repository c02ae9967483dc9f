"""Work that goes on beside evaluations: it yields the processors to them, and stands still while a kernel is measured."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from evaluators.runtime.device_lock import DeviceLock
from evaluators.runtime.interruption import InterruptedJobError, Interruption

_LEAST_PRIORITY = 19
_POLL_SECONDS = 0.01


class BackgroundWork:
    """Keeps one process group in the background, from a thread, until `end`.

    The group is of this user and on this machine; its leader is the process with the same id.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._ended = Interruption()
        yield_processors(group)
        self._thread = threading.Thread(target=self._give_way, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop looking after the group. It may have ended before."""
        self._ended.set()
        self._thread.join()
        self._ended.close()

    def _give_way(self) -> None:
        with suppress(InterruptedJobError), DeviceLock(interruption=self._ended).shared(self._group) as give_way:
            while not self._ended.is_set:
                give_way(self._group)
                time.sleep(_POLL_SECONDS)


def yield_processors(group: int) -> None:
    """Give a process group the least share of the processors.

    Linux may share the processors between sessions before it shares them between processes (sched_autogroup(7)), so both are asked for.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PGRP, group, _LEAST_PRIORITY)
    with suppress(OSError):
        Path(f"/proc/{group}/autogroup").write_text(str(_LEAST_PRIORITY))
