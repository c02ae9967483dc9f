"""Memory that was moved into huge pages is the same memory, in this process and in what it forks."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os
from evaluators import hugepages

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
