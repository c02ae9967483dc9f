"""Memory of this process in huge pages, so that forking it copies few entries of page tables.

A process with torch imported holds some fifty thousand pages that fork(2) maps once more and exit(2) takes apart again; in huge pages
of 2 MiB that is a fifth of the time. The heap is best filled in huge pages from the start (`huge_heap`). What else there is can be moved,
which takes as long as some fifty forks for all of it, so it is done page by page (`collapsing`). That needs Linux 6.1 (MADV_COLLAPSE,
see madvise(2)); older ones are left as they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = 2 << 20
_MADV_HUGEPAGE = 14
_MADV_NOHUGEPAGE = 15
_MADV_COLLAPSE = 25
_HEAP_BYTES = 128 << 20
"""More than torch and what comes with it take of the heap."""


@contextmanager
def huge_heap() -> Iterator[None]:
    """What malloc hands out meanwhile lies in huge pages; what it hands out later, in this process or its children, does not.

    For a process that never gives heap back to the system (MALLOC_TRIM_THRESHOLD_): elsewhere, and where huge pages are switched off,
    nothing is changed.
    """
    library = _library()
    heap = library.malloc(_HEAP_BYTES)
    library.free(heap)
    ranges = [(start, stop) for start, stop in _anonymous() if heap and start <= heap < stop]
    for start, stop in ranges:
        library.madvise(start, stop - start, _MADV_HUGEPAGE)
    try:
        yield
    finally:
        for start, stop in ranges:
            library.madvise(start, stop - start, _MADV_NOHUGEPAGE)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return library


def collapsing() -> Iterator[int]:
    """Moves the private memory that this process has when the first is asked for, one huge page (a few milliseconds) for each value,
    which is its bytes; what whole pages do not fit, or this kernel cannot move, is passed over."""
    library = _library()
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
