"""Whether something else ran on a player's cores while it was timed: how long its threads waited for one.

A thread that could run and has no core waits in a run queue; the kernel adds that time up (the second figure of
/proc/PID/task/TID/schedstat, in nanoseconds). On an idle machine it is some ten microseconds of a block. Where it is more, and the
process's own threads did not take the cores from each other, another process had a part of the block: its time says nothing of the
kernel, and is to be taken again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

_SCHEDULER_CLOCK = 2
_USUAL_SECONDS = 1.5e-4
"""That threads wait for a core in a block when nothing else runs, at most,"""
_SHARE = 0.05
"""and the share of a block that others may have beyond that."""


@dataclass(frozen=True)
class Moment:
    """What a process had used of its cores until then, in nanoseconds."""

    clock: int
    ran: int
    """Of all of its threads, ended ones too."""
    waited: Mapping[int, int]
    """By thread."""


def moment(pid: int, threads: Sequence[int]) -> Moment:
    """Now, of a process and some of its threads; nothing where it is dead, or where the kernel does not count."""
    waited, ran = {}, 0
    for thread in threads:
        with suppress(OSError), open(f"/proc/{pid}/task/{thread}/schedstat", "rb", buffering=0) as file:
            waited[thread] = int(file.read(64).split()[1])
    with suppress(OSError):
        ran = time.clock_gettime_ns(~pid << 3 | _SCHEDULER_CLOCK)
    return Moment(time.perf_counter_ns(), ran, waited)


def lost(before: Moment, after: Moment, cores: int) -> tuple[int, int]:
    """(least, most) nanoseconds that others took from the process in between.

    The longest that one of its threads waited, where the others waited for that one meanwhile, and all that they waited, where each had
    the others wait in its turn. No more than the time of its cores that it did not use itself, so that nobody has a slow block taken
    again by crowding its own cores.
    """
    waits = [total - before.waited.get(thread, total) for thread, total in after.waited.items()]
    unused = cores * (after.clock - before.clock) - (after.ran - before.ran)
    return max(0, min(max(waits, default=0), unused)), max(0, min(sum(waits), unused))


def disturbed(seconds: float, lost_seconds: float) -> bool:
    """Whether others had too much of a block for its time to say anything."""
    return lost_seconds > _USUAL_SECONDS + _SHARE * seconds
