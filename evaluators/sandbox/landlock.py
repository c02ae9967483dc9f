"""Restriction of this process and its descendants with Landlock, for good.

Landlock is Linux's access control for unprivileged processes (Linux 5.13 and newer, see landlock(7)). Everything that the kernel's
version of it can forbid is forbidden; files are allowed by path.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The numbers of the system calls, the same on every architecture."""
_VERSION, _PATH_BENEATH = 1, 1
_TCP = 0b11
"""The rights to bind and to connect TCP sockets."""
_SCOPES = 0b11
"""The scopes that forbid abstract Unix sockets and signals to processes outside."""
_PR_SET_NO_NEW_PRIVS = 38


_LIBRARY = ctypes.CDLL(None, use_errno=True)


class Access(IntFlag):
    """The rights to files, as the kernel numbers them."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


_KNOWN = {1: Access.MAKE_SYM, 2: Access.REFER, 3: Access.TRUNCATE, 5: Access.IOCTL_DEV}
"""The highest right that each version of Landlock knows."""
_READ = Access.EXECUTE | Access.READ_FILE | Access.READ_DIR
_NEVER = Access.MAKE_CHAR | Access.MAKE_BLOCK
_FOR_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Return the version of Landlock of this machine's kernel, or 0 if it has none."""
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def enforced(number: int) -> str:
    """Return a text that lists what a version of Landlock keeps a process from."""
    if number == 0:
        return "nothing"
    parts = ["files outside its own folder"]
    parts += ["TCP"] if number >= 4 else []
    parts += ["signals to other processes"] if number >= 6 else []
    return ", ".join(parts)


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Forbid this thread and its descendants all other files, TCP, and signals to processes outside.

    Call it before there is a second thread.

    Args:
        readable: Files and folders that may be read and executed, with all that is below them. Missing paths are ignored.
        writable: Files and folders that may also be written to.

    Raises:
        OSError: The kernel has no Landlock.
    """
    number = version()
    if number == 0:
        raise OSError("this kernel has no Landlock")
    known = Access((max(right for since, right in _KNOWN.items() if since <= number) << 1) - 1)
    rules = _Ruleset(known, _TCP if number >= 4 else 0, _SCOPES if number >= 6 else 0)
    size = 8 if number < 4 else 16 if number < 6 else 24
    ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    try:
        for paths, rights in ((readable, _READ), (writable, ~_NEVER)):
            for path in paths:
                _allow(ruleset, path, rights & known)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: Access) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(handle).st_mode):
                rights &= _FOR_FILES
            rule = _PathBeneath(rights, handle)
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(handle)


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBRARY.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
