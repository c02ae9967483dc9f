"""The shared memory that holds the inputs of a runner process. The evaluator writes fresh values there while the process is stopped.

The memory is sealed: the process can overwrite the values, but it cannot shrink the memory that the evaluator has mapped.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path
from typing import Any

import torch

from evaluators.runtime.layout import ALIGNMENT, TABLE_BYTES, Layout
from evaluators.runtime.tensors import span_of
from kernelevolve.tasks.tensor_kinds import DTYPES

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def views(memory: mmap.mmap, layout: Layout, slot: int) -> list[Any]:
    """Return the leaves of the arguments of a call. The tensors among them are views of the shared memory."""
    found: list[Any] = []
    for meta in layout.inputs:
        if "value" in meta:
            found.append(meta["value"])
            continue
        dtype = DTYPES[meta["dtype"]]
        count = span_of(meta["shape"], meta["stride"])
        if count == 0:
            found.append(torch.empty_strided(meta["shape"], meta["stride"], dtype=dtype))
            continue
        offset = TABLE_BYTES + slot * layout.slot_bytes + meta["offset"]
        flat = torch.frombuffer(memory, dtype=dtype, count=count, offset=offset)
        found.append(flat.as_strided(meta["shape"], meta["stride"]))
    return found


def rows(memory: mmap.mmap, layout: Layout) -> dict[int, torch.Tensor]:
    """Return the memory of each input that is a tensor and not empty, by its position.

    Returns:
        Views of shape (slots, elements from the input's first to its last in memory).
    """
    found = {}
    for i, meta in enumerate(layout.inputs):
        count = 0 if "value" in meta else span_of(meta["shape"], meta["stride"])
        if count:
            dtype = DTYPES[meta["dtype"]]
            step = layout.slot_bytes // dtype.itemsize
            total = (layout.slots - 1) * step + count
            flat = torch.frombuffer(memory, dtype=dtype, count=total, offset=TABLE_BYTES + meta["offset"])
            found[i] = flat.as_strided((layout.slots, count), (step, 1))
    return found


class Slots:
    """The inputs in the shared memory, laid out by a layout, as the evaluator writes them."""

    def __init__(self, memory: mmap.mmap, layout: Layout) -> None:
        self.layout = layout
        self._memory = memory
        self._rows = rows(memory, layout)
        self._inputs: dict[int, list[Any]] = {}

    def inputs(self, slot: int) -> list[Any]:
        """Return the leaves of the arguments of a call."""
        if slot not in self._inputs:
            self._inputs[slot] = views(self._memory, self.layout, slot)
        return self._inputs[slot]

    def memory(self, position: int) -> torch.Tensor:
        """Return the memory of an input, a tensor that is not empty, with a row for each slot."""
        return self._rows[position]


class Arena:
    """The evaluator's mapping of the shared memory."""

    def __init__(self, capacity: int) -> None:
        """Create the memory, of `capacity` bytes. A page takes memory of the machine only once it is written to."""
        self.requested = capacity
        self.capacity = max(capacity, TABLE_BYTES + ALIGNMENT)
        self.fd = os.memfd_create("kernelevolve-inputs", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.capacity)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        self.memory = mmap.mmap(self.fd, self.capacity)
        self._used = TABLE_BYTES

    def where_in(self, pid: int) -> list[tuple[int, int]]:
        """Return the address ranges of the memory in a process, each as (first, one past the last); none if the process is gone."""
        inode = str(os.fstat(self.fd).st_ino)
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except OSError:
            return []
        mapped = [line.split() for line in lines if "memfd:" in line]
        ends = [parts[0].split("-") for parts in mapped if parts[4] == inode]
        return [(int(first, 16), int(last, 16)) for first, last in ends]

    def use(self, layout: Layout) -> None:
        """Make `clear` keep the pages of a layout."""
        self._used = max(self._used, layout.total_bytes)

    def clear(self) -> None:
        """Zero the memory, for the next runner process. Pages of layouts are kept, since new pages cost several times more."""
        kept = min(-(-self._used // mmap.PAGESIZE) * mmap.PAGESIZE, self.capacity)
        torch.frombuffer(self.memory, dtype=torch.uint8, count=kept).zero_()
        if kept < self.capacity:
            self.memory.madvise(mmap.MADV_REMOVE, kept, self.capacity - kept)

    def pointers(self, count: int) -> list[int]:
        """Return the first `count` entries of the table of pointers, as the runner process left them."""
        return memoryview(self.memory)[: 8 * count].cast("Q").tolist()

    def close(self) -> None:
        """Close the descriptor. The memory is freed when the last tensor in it is gone."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
