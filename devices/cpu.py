"""The CPU device."""

from __future__ import annotations

import functools
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from devices.base import Capability, Device, Toolchain
from devices.toolchains.cpp import CppToolchain, find_compiler, instructions
from devices.toolchains.python import PythonToolchain
from kernelevolve.core.errors import UserError
from kernelevolve.core.target import Target

_CGROUP = Path("/sys/fs/cgroup")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


class CpuDevice(Device):
    """The processor of this machine, for kernels in C++ or in Python."""

    name = "cpu"
    vendor = "cpu"

    def capability(self) -> Capability:
        return Capability(name=self.name, available=True, detail=f"{cpu_model()}, {usable_cores()} cores")

    def target(self) -> Target:
        arch = _arch()
        facts = {"model": cpu_model(), "arch": arch, "cores": str(usable_cores())}
        width = vector_bits()
        if width is not None:
            facts["vector_bits"] = str(width)
        facts |= cache_sizes()
        facts["memory_gib"] = f"{memory_bytes() / 2**30:.1f}"
        facts["instructions"] = instructions()
        languages = tuple(self.toolchains())
        return Target(device=self.name, vendor=self.vendor, arch=arch, languages=languages, facts=facts)

    def toolchains(self) -> Mapping[str, Toolchain]:
        return {"cpp": CppToolchain(), "python": PythonToolchain()}

    def resources(self) -> Mapping[str, float]:
        """Request no CPU from Ray: a measurement uses every core, and the device lock excludes others."""
        return {"num_cpus": 0.0}


def _arch() -> str:
    """Return the architecture that the compiler uses for `-march=native`, or else the architecture of the machine."""
    try:
        return _native_arch(find_compiler())
    except UserError:
        return platform.machine()


def usable_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and the quota of its control group."""
    cores = len(os.sched_getaffinity(0))
    quota = _cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def memory_bytes() -> int:
    """Return the bytes of memory of this machine, at most the limit of the control group."""
    total = int(psutil.virtual_memory().total)
    for file in (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes"):
        limit = _read(file)
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def vector_bits() -> int | None:
    """Return the width in bits of the widest vectors that the CPU reports, or None if it reports none."""
    flags = set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())
    for bits, names in ((512, {"avx512f"}), (256, {"avx", "avx2"}), (128, {"sse2", "asimd", "neon"})):
        if flags & names:
            return bits
    return None


def cache_sizes() -> dict[str, str]:
    """Return the sizes of the data caches of core 0 as the kernel writes them, such as {"l1d": "32K", "l2": "1024K"}."""
    sizes = {}
    for index in sorted(_CACHES.glob("index*")):
        level, kind, size = (_read(index / file) for file in ("level", "type", "size"))
        if kind in {"Data", "Unified"} and level and size:
            sizes[f"l{level}d" if kind == "Data" else f"l{level}"] = size
    return sizes


def cpu_model() -> str:
    """Return the model name of the processor."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


@functools.lru_cache(maxsize=4)
def _native_arch(compiler: str) -> str:
    command = [compiler, "-march=native", "-Q", "--help=target"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    found = re.search(r"^\s*-march=\s+(\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else platform.machine()


def _cpu_quota() -> float | None:
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if not quota:
        quota, period = (_read(_CGROUP / "cpu" / file) for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


@functools.lru_cache(maxsize=8)
def _cpuinfo(key: str) -> str:
    found = re.search(rf"^{re.escape(key)}\s*:[^\S\n]*(.*)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return found[1].strip() if found else ""


def _read(file: Path) -> str:
    return file.read_text().strip() if file.is_file() else ""
