"""The files that a candidate may access: those that Python, torch and compiled kernels need, and its own folder."""

from __future__ import annotations

import functools
import os
import pwd
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaluators.sandbox.landlock import confine
from kernelevolve.core.child_process import ROOT

_PACKAGES = ("kernelevolve", "evaluators", "devices")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix", "/sys")
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "nsswitch.conf", "passwd", "group")
_PROC = ("self", "cpuinfo", "meminfo", "stat", "loadavg", "version", "filesystems", "sys")
"""The readable entries of /proc. The rest would show the arguments of other processes."""
_DEVICES = ("null", "zero", "full", "random", "urandom")


def confine_candidate(folder: Path, readable: Iterable[str]) -> None:
    """Restrict the file access of this process, with Landlock, to what a candidate needs.

    Args:
        folder: The only folder to which it may write.
        readable: Further paths that it may read, besides `readable_paths`.

    Raises:
        OSError: The kernel of this machine has no Landlock.
    """
    own = [Path("/proc", name) for name in _PROC]
    devices = [Path("/dev", name) for name in _DEVICES]
    confine([*readable_paths(), *own, *devices, *map(Path, readable)], [folder, Path("/dev/null")])


@functools.lru_cache(maxsize=1)
def readable_paths() -> tuple[Path, ...]:
    """Return the paths that every candidate may read, without those below another one.

    The result is cached, and shared with the processes that are forked from this one.
    """
    found = {path.resolve() for path in _interpreter() if path.exists()}
    return tuple(sorted(path for path in found if found.isdisjoint(path.parents)))


def _interpreter() -> Iterator[Path]:
    yield from map(Path, _SYSTEM)
    yield from (Path("/etc", name) for name in _ETC)
    yield from (ROOT / name for name in _PACKAGES)
    yield from {Path(p) for p in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())}
    named = [p for v in ("PATH", "LD_LIBRARY_PATH") for p in os.environ.get(v, "").split(os.pathsep)]
    refused = _excluded()
    yield from (Path(p) for p in (*named, *sys.path) if p and Path(p).resolve() not in refused)


def _excluded() -> set[Path]:
    """Return the folders that hold more than code. They stay unreadable even if PATH or `sys.path` names them."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    return {*map(Path, ("/", "/home", "/tmp", "/var/tmp", "/dev", "/dev/shm")), ROOT, home, *home.parents}
