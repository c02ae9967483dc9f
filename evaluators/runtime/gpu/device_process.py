"""The evaluator's own process on a GPU: it owns the memory of all inputs, writes them, and reads the results of runner processes.

The worker that judges never has a context of the device. It sends orders to this process, and the two share memory on the host: the
stage, from which timed blocks get their values, and behind it a window for what is read from the device.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from evaluators.runtime.gpu.driver import Driver, DriverError, memory_at

_FLUSHED_CACHES = 4
"""The size of the buffer that is written before a block, in sizes of the second-level cache."""


class DeviceProcess:
    """The object that a trusted runner process hosts for the evaluator. The worker calls its methods with plain values."""

    def __init__(self) -> None:
        """Create the context."""
        torch.cuda.init()
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        self._flush = torch.zeros(_FLUSHED_CACHES * max(cache, 1 << 20), dtype=torch.uint8, device="cuda")
        self._driver = Driver()
        self._inputs: dict[int, tuple[int, torch.Tensor]] = {}
        """Runner -> the address and the bytes of the memory of its inputs."""
        self._opened: dict[str, tuple[int, torch.Tensor]] = {}
        """Handle -> the address and the bytes of memory of another process."""
        self._host = torch.empty(0, dtype=torch.uint8)

    def attach(self, memory: mmap.mmap) -> None:
        """Take the memory that is shared with the worker."""
        self._host = torch.frombuffer(memory, dtype=torch.uint8)

    def allocate(self, runner: int, size: int) -> Mapping[str, Any]:
        """Allocate the memory of a runner's inputs, in place of an earlier one.

        Args:
            runner: The number of the runner.
            size: The bytes.

        Returns:
            `handle`, by which the runner's process opens it, or `error` if there is no room.
        """
        self.release(runner, ())
        try:
            address = self._driver.allocate(size)
        except DriverError as error:
            return {"error": str(error)}
        memory = memory_at(address, size)
        memory.zero_()
        self._inputs[runner] = address, memory
        torch.cuda.synchronize()
        return {"handle": self._driver.export(self._driver.allocation_of(address))}

    def release(self, runner: int, handles: list[str] | tuple[str, ...]) -> Mapping[str, Any]:
        """Free the memory of a runner's inputs and close what was opened of its results."""
        torch.cuda.synchronize()
        if runner in self._inputs:
            self._driver.free(self._inputs.pop(runner)[0])
        for handle in handles:
            if handle in self._opened:
                # The other process may be gone, which closes the memory too.
                with suppress(DriverError):
                    self._driver.close(self._opened.pop(handle)[0])
        return {}

    def stage(self, runner: int, first: int, last: int) -> Mapping[str, Any]:
        """Copy bytes [first, last) of the stage to the same place among a runner's inputs, and flush the second-level cache."""
        if last > first:
            self._inputs[runner][1][first:last].copy_(self._host[first:last])
        self._flush.fill_(0)
        torch.cuda.synchronize()
        return {}

    def read_input(self, runner: int, first: int, last: int, at: int) -> Mapping[str, Any]:
        """Copy bytes [first, last) of a runner's inputs to the shared memory, to offset `at`."""
        self._host[at : at + last - first].copy_(self._inputs[runner][1][first:last])
        return {}

    def read(self, handle: str, size: int, first: int, last: int, at: int) -> Mapping[str, Any]:
        """Copy bytes of memory of another process to the shared memory.

        Args:
            handle: The handle that the other process reported for its allocation.
            size: The bytes of the allocation as it reported them.
            first: The first byte to copy.
            last: One past the last byte to copy.
            at: The offset in the shared memory.

        Returns:
            Nothing, or `error` if the memory cannot be read.
        """
        try:
            if handle not in self._opened:
                address = self._driver.open(handle)
                real = self._driver.allocation_of(address)
                if size > real.size:
                    self._driver.close(address)
                    return {"error": f"an allocation of {real.size} bytes, reported as {size}"}
                self._opened[handle] = address, memory_at(address, size)
            memory = self._opened[handle][1]
            if not 0 <= first <= last <= memory.numel():
                return {"error": f"bytes {first} to {last} of an allocation of {memory.numel()}"}
            self._host[at : at + last - first].copy_(memory[first:last])
        except (DriverError, ValueError) as error:
            return {"error": str(error)}
        return {}

    def facts(self) -> Mapping[str, Any]:
        """Return what the device says of itself: its name, and its memory in bytes."""
        properties = torch.cuda.get_device_properties(0)
        return {"name": properties.name, "memory": properties.total_memory, "free": torch.cuda.mem_get_info()[0]}
