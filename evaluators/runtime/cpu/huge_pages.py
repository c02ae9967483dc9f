"""Huge pages for the memory of this process, so that a fork copies few page table entries.

A process with torch imported holds some fifty thousand pages, which fork(2) maps again and exit(2) unmaps. With huge pages of 2 MiB that
takes a fifth of the time. The heap is best filled in huge pages from the start (`huge_heap`). The rest of the memory can be moved to huge
pages, but all of it takes as long as some fifty forks, so it is done page by page (`collapsing`). Moving needs Linux 6.1 (MADV_COLLAPSE,
see madvise(2)); on older versions nothing is moved.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = 2 << 20
"""The bytes of a huge page."""
_MADV_HUGEPAGE = 14
_MADV_NOHUGEPAGE = 15
_MADV_COLLAPSE = 25
_HEAP_BYTES = 128 << 20
"""More bytes of heap than torch and its dependencies take."""


@contextmanager
def huge_heap() -> Iterator[None]:
    """Make malloc use huge pages in this context, and ordinary pages afterwards, in this process and its children.

    It works in a process that never returns heap to the system (MALLOC_TRIM_THRESHOLD_). Elsewhere, and where huge pages are switched
    off, it changes nothing.
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
    """Move the private memory that this process has at the first step to huge pages, one page (a few milliseconds) per step.

    Memory that does not fill whole huge pages, or that the kernel cannot move, is skipped.

    Yields:
        The bytes of each huge page.
    """
    library = _library()
    for start, stop in _anonymous():
        for address in range(-(-start // _SIZE) * _SIZE, stop - _SIZE + 1, _SIZE):
            if library.madvise(address, _SIZE, _MADV_COLLAPSE) == 0:
                yield _SIZE


def _anonymous() -> list[tuple[int, int]]:
    """Return the address ranges of the writable private maps that belong to no file."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        parts = line.split()
        if parts[1] == "rw-p" and (len(parts) == 5 or parts[5] == "[heap]"):
            start, _, stop = parts[0].partition("-")
            found.append((int(start, 16), int(stop, 16)))
    return found
