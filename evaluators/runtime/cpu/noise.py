"""What others had to do with a timed block: whether it waited for a core, and whether others could run beside it.

A thread that could run and has no core waits in a run queue; the kernel adds that time up (the second figure of
/proc/PID/task/TID/schedstat, in nanoseconds). On an idle machine it is some ten microseconds of a block. Where it is more, and the
process's own threads did not take the cores from each other, another process had a part of the block. Who runs on another core takes
no core from a block, but caches and memory: the number of threads that can run, in /proc/loadavg, tells of that at both ends of a
block. Where somebody was there the server's own waiting counts too: its clock stops late where it gets no core when the player is
done. Where nobody was, it has only waited for the player itself, which lengthens nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

_SCHEDULER_CLOCK = 2
_STEP_SECONDS = 1e-4
"""Between two looks whether the machine is idle."""


@dataclass(frozen=True)
class Moment:
    """What a process had used of its cores until then, in nanoseconds."""

    clock: int
    ran: int
    """Of all of its threads, ended ones too."""
    waited: Mapping[int, int]
    """By thread."""
    watcher_waited: int = 0
    """That the process which holds the clock waited for a core."""


def moment(pid: int, threads: Sequence[int]) -> Moment:
    """Now, of a process and some of its threads; nothing where it is dead, or where the kernel does not count."""
    waited, ran = {}, 0
    for thread in threads:
        with suppress(OSError):
            waited[thread] = _waited(f"/proc/{pid}/task/{thread}/schedstat")
    with suppress(OSError):
        ran = time.clock_gettime_ns(~pid << 3 | _SCHEDULER_CLOCK)
    watcher = 0
    with suppress(OSError):
        watcher = _waited("/proc/thread-self/schedstat")
    return Moment(time.perf_counter_ns(), ran, waited, watcher)


def _waited(path: str) -> int:
    with open(path, "rb", buffering=0) as file:
        return int(file.read(64).split()[1])


def lost(before: Moment, after: Moment, cores: int, others: int | None) -> int:
    """Nanoseconds, at least, that others took from a block in between. `others`: threads that could run as it began, or as it ended.

    The longest that one of the process's threads waited, where the others waited for that one meanwhile; no more than the time of its
    cores that it did not use itself, so that nobody has a slow block taken again by crowding its own cores. To that comes what the
    watcher waited for others.
    """
    waits = [total - before.waited.get(thread, total) for thread, total in after.waited.items()]
    unused = cores * (after.clock - before.clock) - (after.ran - before.ran)
    watcher = 0 if others == 0 else after.watcher_waited - before.watcher_waited
    return max(0, min(max(waits, default=0), unused)) + max(0, min(watcher, unused))


def threads_of(pid: int) -> list[int]:
    """Of a process, by their ids; none where it is gone."""
    with suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return []


def others_running() -> int | None:
    """Threads on this machine, besides the caller's, that run or could; None where the kernel does not tell."""
    try:
        with open("/proc/loadavg", "rb", buffering=0) as file:
            return int(file.read(64).split()[3].partition(b"/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return None


def await_idle(patience: float) -> bool:
    """Sleep until nobody else runs on this machine, `patience` seconds at most. Whether that came about."""
    end = time.monotonic() + patience
    while others_running() != 0:
        if time.monotonic() >= end:
            return False
        time.sleep(_STEP_SECONDS)
    return True
