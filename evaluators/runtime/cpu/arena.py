"""The memory that a player's inputs lie in: shared, so that the judge puts fresh values there while the player stands still.

It is sealed: a player can spoil the values in it, but not take it from under the judge.
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
    """The leaves of the arguments of a call, the tensors among them in the shared memory."""
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
    """By position, the memory of each input that is a tensor and not empty: (slots, elements from its first to its last)."""
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
    """The inputs that lie in shared memory by a layout, as the judge writes them."""

    def __init__(self, memory: mmap.mmap, layout: Layout) -> None:
        self.layout = layout
        self._memory = memory
        self._rows = rows(memory, layout)
        self._inputs: dict[int, list[Any]] = {}

    def inputs(self, slot: int) -> list[Any]:
        """The leaves of the arguments of a call."""
        if slot not in self._inputs:
            self._inputs[slot] = views(self._memory, self.layout, slot)
        return self._inputs[slot]

    def memory(self, position: int) -> torch.Tensor:
        """That an input, a tensor that is not empty, lies in: a row for each slot."""
        return self._rows[position]


class Arena:
    """The judge's side of it."""

    def __init__(self, capacity: int) -> None:
        """`capacity` in bytes; pages are taken when they are first written to."""
        self.requested = capacity
        self.capacity = max(capacity, TABLE_BYTES + ALIGNMENT)
        self.fd = os.memfd_create("kernelevolve-inputs", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.capacity)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        self.memory = mmap.mmap(self.fd, self.capacity)
        self._used = TABLE_BYTES

    def where_in(self, pid: int) -> list[tuple[int, int]]:
        """Where it lies in a process: first addresses, and those behind the last. Empty where the process is gone."""
        inode = str(os.fstat(self.fd).st_ino)
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except OSError:
            return []
        mapped = [line.split() for line in lines if "memfd:" in line]
        ends = [parts[0].split("-") for parts in mapped if parts[4] == inode]
        return [(int(first, 16), int(last, 16)) for first, last in ends]

    def use(self, layout: Layout) -> None:
        """Have the pages of a layout kept by `clear`."""
        self._used = max(self._used, layout.total_bytes)

    def clear(self) -> None:
        """Nothing that a player has left is there for the next one. Pages of layouts stay, since new ones cost several times more."""
        kept = min(-(-self._used // mmap.PAGESIZE) * mmap.PAGESIZE, self.capacity)
        torch.frombuffer(self.memory, dtype=torch.uint8, count=kept).zero_()
        if kept < self.capacity:
            self.memory.madvise(mmap.MADV_REMOVE, kept, self.capacity - kept)

    def pointers(self, count: int) -> list[int]:
        """The first entries of the table, as the player has left them."""
        return memoryview(self.memory)[: 8 * count].cast("Q").tolist()

    def close(self) -> None:
        """Tensors that still lie in it keep the memory until they go."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
