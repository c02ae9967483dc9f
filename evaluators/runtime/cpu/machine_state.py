"""Observation of the machine during a measurement, as the difference of a snapshot before and one after it.

Everything is read from /proc and /sys, and only for the cores that this process may use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kernelevolve.core.evaluation import MachineState

_TICKS = os.sysconf("SC_CLK_TCK")
"""The ticks per second of the counters in /proc."""
_LEAST_SECONDS = 0.1
"""The least seconds between snapshots for which shares are computed, since /proc/stat counts in ticks of 10 ms."""
_IDLE, _IOWAIT, _STEAL, _FIELDS = 3, 4, 7, 8
"""The positions of fields in a line of /proc/stat, and the number of fields used. Guest time follows and is part of user time."""


@dataclass(frozen=True)
class Snapshot:
    """The counters of the machine since it started, and its present state. None means that the machine does not report a value."""

    at: float
    """The seconds of the monotonic clock."""
    cores: int
    """The number of cores that this process may use."""
    busy: float
    """The seconds that all cores together spent in programs and the kernel, without stolen time."""
    steal: float
    """The seconds of all cores together that other virtual machines took."""
    own: float
    """The seconds of processor time of this process and its descendants."""
    load: float
    """The load average of the last minute."""
    pressure: float | None
    """The seconds in which some task waited for a core."""
    clock_mhz: float | None
    """The mean clock of the cores in MHz."""
    thermal_throttles: int | None
    """The number of times that cores were slowed down because they were too hot."""
    cgroup_throttles: int | None
    """The number of times that the control group of this process used up its share of the processor."""


def snapshot() -> Snapshot:
    """Return a snapshot of the machine. It takes less than a millisecond if this process has few descendants."""
    cores = sorted(os.sched_getaffinity(0))
    busy, steal = _core_seconds(cores)
    return Snapshot(
        at=time.monotonic(),
        cores=len(cores),
        busy=busy,
        steal=steal,
        own=_own_seconds(),
        load=os.getloadavg()[0],
        pressure=_pressure(),
        clock_mhz=_clock(cores),
        thermal_throttles=_thermal(cores),
        cgroup_throttles=_cgroup_throttles(),
    )


def between(before: Snapshot, after: Snapshot, disturbed_above: float) -> MachineState:
    """Return what the machine did between two snapshots.

    Args:
        before: The earlier snapshot.
        after: The later snapshot.
        disturbed_above: The share of the cores' time that other programs and machines may take before it counts as disturbed.
    """
    seconds = after.at - before.at
    foreign = steal = None
    if seconds >= _LEAST_SECONDS:
        room = seconds * after.cores
        taken = (after.busy - before.busy) - (after.own - before.own)
        foreign, steal = (max(0.0, spent) / room for spent in (taken, after.steal - before.steal))
    thermal = _less(after.thermal_throttles, before.thermal_throttles)
    throttles = _less(after.cgroup_throttles, before.cgroup_throttles)
    pressure = None
    if before.pressure is not None and after.pressure is not None and seconds > 0:
        pressure = min(1.0, max(0.0, after.pressure - before.pressure) / seconds)
    return MachineState(
        seconds=seconds,
        cores=after.cores,
        load=after.load,
        foreign_share=foreign,
        steal_share=steal,
        pressure_share=pressure,
        clock_mhz=after.clock_mhz,
        thermal_throttles=thermal,
        cgroup_throttles=throttles,
        disturbed=(foreign or 0.0) + (steal or 0.0) > disturbed_above or bool(thermal) or bool(throttles),
        repeats=0,
    )


def _less(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else max(0, after - before)


def _core_seconds(cores: Sequence[int]) -> tuple[float, float]:
    """Return the busy and the stolen seconds of some cores together."""
    wanted = {f"cpu{core}" for core in cores}
    busy = steal = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in wanted:
            ticks = [int(field) for field in fields[:_FIELDS]]
            busy += sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT] - ticks[_STEAL]
            steal += ticks[_STEAL]
    return busy / _TICKS, steal / _TICKS


def _own_seconds() -> float:
    """Return the processor seconds of this process and its descendants, including ended ones that were waited for."""
    ticks = 0
    left = [os.getpid()]
    while left:
        folder = Path(f"/proc/{left.pop()}")
        with suppress(OSError):  # The process may have ended; its time is then counted with its parent's.
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
            for thread in (folder / "task").iterdir():
                left += [int(child) for child in (thread / "children").read_text().split()]
    return ticks / _TICKS


def _pressure() -> float | None:
    with suppress(OSError, ValueError):
        for line in Path("/proc/pressure/cpu").read_text().splitlines():
            if line.startswith("some"):
                return int(line.rpartition("total=")[2]) / 1e6
    return None


def _clock(cores: Sequence[int]) -> float | None:
    found = [
        hertz / 1e3 for core in cores if (hertz := _number(_of_core(core, "cpufreq/scaling_cur_freq"))) is not None
    ]
    if not found:
        with suppress(OSError, ValueError):
            lines = Path("/proc/cpuinfo").read_text().splitlines()
            found = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return sum(found) / len(found) if found else None


def _thermal(cores: Sequence[int]) -> int | None:
    found = [_number(_of_core(core, "thermal_throttle/core_throttle_count")) for core in cores]
    known = [count for count in found if count is not None]
    return sum(known) if known else None


def _of_core(core: int, name: str) -> Path:
    return Path(f"/sys/devices/system/cpu/cpu{core}/{name}")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


@cache
def _cgroup_files() -> tuple[Path, ...]:
    """Return the files in which the kernel may count throttling of this process's control group.

    They cover control groups of version 1 and 2, inside and outside of a container.
    """
    root = Path("/sys/fs/cgroup")
    found = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                base = root / controllers if controllers else root
                found += [base / path.lstrip("/") / "cpu.stat", base / "cpu.stat"]
    return tuple(found)


def _cgroup_throttles() -> int | None:
    for path in _cgroup_files():
        with suppress(OSError):
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "nr_throttled":
                    return int(value)
    return None
