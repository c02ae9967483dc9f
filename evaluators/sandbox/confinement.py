"""Which files a candidate may see: those that Python, torch and compiled kernels need, and its own folder."""

from __future__ import annotations

import functools
import os
import pwd
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaluators.sandbox.landlock import confine
from kernelevolve.core.helpers import ROOT

_PACKAGES = ("kernelevolve", "evaluators", "devices")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix", "/sys")
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "nsswitch.conf", "passwd", "group")
_PROC = ("self", "cpuinfo", "meminfo", "stat", "loadavg", "version", "filesystems", "sys")
"""Not all of /proc: what other processes were started with can be read there."""
_DEVICES = ("null", "zero", "full", "random", "urandom")


def confine_candidate(folder: Path, readable: Iterable[str]) -> None:
    """Leave this process its `folder` to write to, and what it needs, with the paths of `readable`, to read.

    Raises OSError where this kernel has no Landlock.
    """
    own = [Path("/proc", name) for name in _PROC]
    devices = [Path("/dev", name) for name in _DEVICES]
    confine([*readable_paths(), *own, *devices, *map(Path, readable)], [folder, Path("/dev/null")])


@functools.lru_cache(maxsize=1)
def readable_paths() -> tuple[Path, ...]:
    """What every candidate may read, without what lies below another: the same for all that are forked from this process."""
    found = {path.resolve() for path in _interpreter() if path.exists()}
    return tuple(sorted(path for path in found if found.isdisjoint(path.parents)))


def _interpreter() -> Iterator[Path]:
    yield from map(Path, _SYSTEM)
    yield from (Path("/etc", name) for name in _ETC)
    yield from (ROOT / name for name in _PACKAGES)
    yield from {Path(p) for p in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())}
    named = [p for v in ("PATH", "LD_LIBRARY_PATH") for p in os.environ.get(v, "").split(os.pathsep)]
    refused = _too_much()
    yield from (Path(p) for p in (*named, *sys.path) if p and Path(p).resolve() not in refused)


def _too_much() -> set[Path]:
    """Folders that hold more than code, even where a path of the environment names them."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    return {*map(Path, ("/", "/home", "/tmp", "/var/tmp", "/dev", "/dev/shm")), ROOT, home, *home.parents}
