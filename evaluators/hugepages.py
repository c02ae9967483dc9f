"""Memory of this process in huge pages, so that forking it copies few entries of page tables.

A process with torch imported holds some fifty thousand pages that fork(2) maps once more and exit(2) takes apart again; in huge pages
of 2 MiB that is a fifth of the time. Moving them all takes as long as some fifty forks, so it is done page by page. Needs Linux 6.1
(MADV_COLLAPSE, see madvise(2)); older ones are left as they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

_SIZE = 2 << 20
_MADV_COLLAPSE = 25


def collapsing() -> Iterator[int]:
    """Moves the private memory that this process has when the first is asked for, one huge page (a few milliseconds) for each value,
    which is its bytes; what whole pages do not fit, or this kernel cannot move, is passed over."""
    library = ctypes.CDLL(None)
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start, stop in _anonymous():
        for address in range(-(-start // _SIZE) * _SIZE, stop - _SIZE + 1, _SIZE):
            if library.madvise(address, _SIZE, _MADV_COLLAPSE) == 0:
                yield _SIZE


def _anonymous() -> list[tuple[int, int]]:
    """Writable private maps that are no file's."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        parts = line.split()
        if parts[1] == "rw-p" and (len(parts) == 5 or parts[5] == "[heap]"):
            start, _, stop = parts[0].partition("-")
            found.append((int(start, 16), int(stop, 16)))
    return found
