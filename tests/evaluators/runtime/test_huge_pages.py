"""Memory that was moved into huge pages is the same memory, in this process and in what it forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os
from evaluators.runtime.cpu import huge_pages as hugepages

kept = [bytearray(os.urandom(1 << 16)) for _ in range(512)]
before = [hash(bytes(part)) for part in kept]
assert sum(hugepages.collapsing()) % (2 << 20) == 0
pid = os.fork()
if pid == 0:
    same = [hash(bytes(part)) for part in kept] == before
    kept[0][0] ^= 1
    os._exit(0 if same else 1)
print(os.waitpid(pid, 0)[1], [hash(bytes(part)) for part in kept] == before)
"""


def test_memory_in_huge_pages_is_what_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.split() == ["0", "True"]


HEAP = """
import ctypes
import os
from pathlib import Path
from evaluators.runtime.cpu.huge_pages import huge_heap

def huge():
    return sum(int(line.split()[1]) for line in Path("/proc/self/smaps").read_text().splitlines() if line.startswith("AnonHugePages:"))

kept = []
def fill():
    kept.extend(ctypes.create_string_buffer(b"x" * (1 << 16)) for _ in range(512))
    return huge()

found = [huge()]
with huge_heap():
    found.append(fill())
pid = os.fork()
if pid == 0:
    print(*found, huge(), fill())
    os._exit(0)
os.waitpid(pid, 0)
"""
_STATES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not _STATES.exists() or "[madvise]" not in _STATES.read_text(), reason="huge pages are not where they are asked for"
)
def test_only_what_is_allocated_meanwhile_lies_in_huge_pages() -> None:
    steady = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
    done = subprocess.run(
        [sys.executable, "-uc", HEAP],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env={**os.environ, **steady},
    )
    before, filled, forked, later = map(int, done.stdout.split())
    assert before == 0
    assert filled >= 24 << 10
    # The kernel's own thread may gather a few more regions at any moment.
    assert forked >= filled
    assert later <= forked + (16 << 10), "what the child fills, 32 MiB, is not in huge pages"
