"""The influence of other programs on a timed block: whether the block waited for a core, and whether others ran beside it.

A thread that is ready to run but has no core waits in a run queue, and the kernel sums up that time (the second field of
/proc/PID/task/TID/schedstat, in nanoseconds). On an idle machine it is some ten microseconds per block. If it is more, and the threads of
the process did not take the cores from each other, another program took part of the block.

A program on another core takes no core from a block, but it uses caches and memory bandwidth. It shows in the number of runnable threads
in /proc/loadavg, which is read at both ends of a block. If there was one, the waiting of the fork server for the end of the block counts
too, since its clock stops late if it gets no core when the runner is done. If there was none, the server waited only for the runner. What
it waited earlier, while it let the runner go on, delays nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

_SCHEDULER_CLOCK = 2
"""The kind of clock, in the id of a process's clock, that counts the time its threads ran."""
_LOST_SHARE = 0.9
"""The largest share of an order's time that can count as lost to other programs, so that its limit grows tenfold at most."""
_OTHERS_NANOSECONDS, _OTHERS_SHARE = 100_000, 0.1
"""The processor time of other threads, in nanoseconds plus a share of all, that is notable."""
_STEP_SECONDS = 1e-4
"""The seconds between two checks whether the machine is idle."""


@dataclass(frozen=True)
class Moment:
    """The use of the cores by a process up to a moment."""

    clock: int
    """The nanoseconds of the clock."""
    ran: int
    """The nanoseconds of processor time of all threads of the process, including ended ones."""
    waited: Mapping[int, int]
    """The nanoseconds for which each thread waited for a core."""
    watcher_waited: int = 0
    """The nanoseconds for which the process that holds the clock waited for a core."""
    threads_ran: int = 0
    """The nanoseconds of processor time of the given threads."""

    def without(self, watcher_waited: int) -> Moment:
        """Return the moment from which the watcher's next `watcher_waited` nanoseconds of waiting do not count."""
        return replace(self, watcher_waited=self.watcher_waited + watcher_waited)


def moment(pid: int, threads: Sequence[int]) -> Moment:
    """Return the counters of a process and some of its threads now. They are 0 or missing if it is dead or the kernel has none."""
    waited, ran, threads_ran = {}, 0, 0
    for thread in threads:
        with suppress(OSError):
            used, waited[thread] = _used_and_waited(f"/proc/{pid}/task/{thread}/schedstat")
            threads_ran += used
    with suppress(OSError):
        ran = time.clock_gettime_ns(~pid << 3 | _SCHEDULER_CLOCK)
    watcher = 0
    with suppress(OSError):
        _, watcher = _used_and_waited("/proc/thread-self/schedstat")
    return Moment(time.perf_counter_ns(), ran, waited, watcher, threads_ran)


def _used_and_waited(path: str) -> tuple[int, int]:
    with open(path, "rb", buffering=0) as file:
        used, waited, _ = file.read(64).split()
        return int(used), int(waited)


def has_other_threads(before: Moment, after: Moment) -> bool:
    """Return whether threads besides the given ones did a notable part of a process's work between two moments."""
    ran = after.ran - before.ran
    others = ran - (after.threads_ran - before.threads_ran)
    return others > _OTHERS_NANOSECONDS + _OTHERS_SHARE * ran


def lost(before: Moment, after: Moment, cores: int, others: int | None) -> int:
    """Return a lower bound of the nanoseconds that other programs took from a block between two moments.

    It is the longest wait of one of the process's threads, since the other threads may wait for that one. It is at most the time of the
    cores that the process did not use itself, so that a process cannot have a slow block repeated by crowding its own cores. The time for
    which the process with the clock waited for other programs is added.

    Args:
        before: The moment when the block began.
        after: The moment when it ended.
        cores: The number of cores.
        others: The larger number of runnable threads of other programs when the block began and when it ended; None if unknown.
    """
    waits = [total - before.waited.get(thread, total) for thread, total in after.waited.items()]
    unused = cores * (after.clock - before.clock) - (after.ran - before.ran)
    watcher = 0 if others == 0 else after.watcher_waited - before.watcher_waited
    return max(0, min(max(waits, default=0), unused)) + max(0, min(watcher, unused))


def threads_of(pid: int) -> list[int]:
    """Return the ids of the threads of a process; none if it is gone."""
    with suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return []


class Waiting:
    """The time in which other programs keep a process from its cores during an order, by which its limit is extended.

    It counts from `begin` on, which is called when the order turns out to take long. Counting costs more than a short order.
    """

    def __init__(self, pid: int, cores: int) -> None:
        """`pid` is the id of the process, and `cores` the number of cores."""
        self._pid = pid
        self._cores = cores
        self._began: Moment | None = None

    def begin(self) -> None:
        """Begin to count, unless that was done before."""
        if self._began is None:
            self._began = moment(self._pid, threads_of(self._pid))

    def nanoseconds(self) -> int:
        """Return the nanoseconds since `begin` in which the process had no core because of other programs."""
        if self._began is None:
            return 0
        now = moment(self._pid, threads_of(self._pid))
        return min(lost(self._began, now, self._cores, 0), int(_LOST_SHARE * (now.clock - self._began.clock)))


def others_running() -> int | None:
    """Return the number of runnable threads on this machine besides the caller's, or None if the kernel does not report it."""
    try:
        with open("/proc/loadavg", "rb", buffering=0) as file:
            return int(file.read(64).split()[3].partition(b"/")[0]) - 1
    except (OSError, ValueError, IndexError):
        return None


def await_idle(patience: float) -> bool:
    """Wait until no other program runs on this machine, for at most `patience` seconds. Return whether that happened."""
    end = time.monotonic() + patience
    while others_running() != 0:
        if time.monotonic() >= end:
            return False
        time.sleep(_STEP_SECONDS)
    return True
