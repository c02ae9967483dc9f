"""The evaluator's side of a runner process on a GPU."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field

from evaluators.runtime.base import TimedBlock
from evaluators.runtime.cpu.arena import Slots
from evaluators.runtime.cpu.runner import AnyReply, CpuRunner
from evaluators.runtime.cpu.runner_process import BlockOrder, RunnerProcess
from evaluators.runtime.elements import Elements, Float32Elements, TensorElements
from evaluators.runtime.gpu.device_memory import DeviceMemory, UnreadableDeviceMemoryError
from evaluators.runtime.layout import TABLE_BYTES, layout_of
from evaluators.runtime.tensors import TensorDescription, memory_of, span_of
from evaluators.verdict import FailedError, failed
from kernelevolve.core.evaluation import Status
from kernelevolve.core.record import Record
from kernelevolve.core.seeds import derive_seed
from kernelevolve.tasks.structure import Structure
from kernelevolve.tasks.tensor_kinds import DTYPES

_WIDEST = 16
"""The largest ratio of the elements that an output spans in memory to the elements that it has."""
_MOST_WHOLE = 1 << 30
"""The most bytes that an output may span if it is not contiguous, and is therefore read as a whole."""
_GLANCE_BYTES = 1 << 14
"""The bytes of a piece of a result that is read again after a block."""
_GLANCES = 3
"""The number of such pieces that are chosen at random."""
_numbers = itertools.count(1)


class _Allocation(Record):
    """Device memory of a runner's process, as the process reports it."""

    base: int = Field(ge=0, lt=1 << 63)
    bytes: int = Field(ge=0, lt=1 << 48)
    handle: str = Field(max_length=256)


class _GpuReply(AnyReply):
    allocations: tuple[_Allocation, ...] = ()
    """Allocations of results that were not reported before."""
    inputs_at: int | None = Field(default=None, ge=0, lt=1 << 63)
    """The address of the memory of inputs in the process."""


class _DeviceElements:
    """The elements of a contiguous result on the device, read in parts."""

    def __init__(self, runner: GpuRunner, output: TensorDescription, address: int) -> None:
        self.shape, self.dtype, self.numel = output.shape, DTYPES[output.dtype], output.numel
        self._runner = runner
        self._address = address

    def part(self, start: int, stop: int) -> torch.Tensor:
        size = self.dtype.itemsize
        read = self._runner.read_memory(self._address + start * size, (stop - start) * size)
        return read.view(self.dtype)


class GpuRunner(CpuRunner):
    """A runner process whose implementation runs on the GPU."""

    reply_type = _GpuReply

    def __init__(self, process: RunnerProcess, memory: DeviceMemory, *, trusted: bool = False) -> None:
        """Take over a runner process.

        Args:
            process: The process.
            memory: The device memory of its inputs, and the way to its results.
            trusted: Whether it runs the user's own code rather than a kernel.
        """
        super().__init__(process, trusted=trusted)
        self._memory = memory
        self.number = next(_numbers)
        """The number by which the device process knows it."""
        self._allocations: list[_Allocation] = []
        self._inputs_at = 0
        self._described: tuple[TensorDescription, ...] = ()
        """The results of the last call outside of a timed block."""
        self._watched: list[tuple[int, torch.Tensor]] = []
        """Pieces of the results of the last block: their addresses, and what was there when it had ended."""
        self._random = random.Random(derive_seed(self.number, "watched pieces"))
        self._uploaded: set[int] = set()
        """The slots whose values are on the device."""

    def end(self) -> None:
        if not self._is_over:
            super().end()
            self._memory.release(self.number, [each.handle for each in self._allocations])

    def lay_out(self, inputs: Sequence[Mapping[str, Any]], slots: int, structure: Structure | None = None) -> None:
        layout = layout_of(inputs, slots, structure)
        if self._slots is not None and layout == self._slots.layout:
            return
        handle = self._memory.allocate(self.number, layout.total_bytes, self.stage)
        self.process.arena.use(layout)
        self._slots = Slots(self.process.arena.memory, layout)
        self._uploaded = set()
        self._untold = {"layout": layout.model_dump(), "memory": {"handle": handle, "bytes": layout.total_bytes}}

    def write(self, slot: int, values: Sequence[Any]) -> None:
        for source, target in zip(values, self.slots.inputs(slot), strict=True):
            if isinstance(target, torch.Tensor):
                memory_of(target).copy_(memory_of(source))

    def inputs(self, slot: int) -> list[Any]:
        """Return the leaves of the arguments of a call as they are on the device, or as they were written if no call has used them."""
        if slot not in self._uploaded:
            return [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in self.slots.inputs(slot)]
        layout = self.slots.layout
        first = TABLE_BYTES + slot * layout.slot_bytes
        read = self._memory.read_input(self.number, first, first + layout.slot_bytes)
        return [_leaf(meta, read) for meta in layout.inputs]

    def call(self, slots: Sequence[int]) -> Any:
        self._uploaded.update(slots)
        return super().call(slots)

    def check_rule(self) -> None:
        """Raise FailedError if the kernel changed what the task may compute with: its operators, or torch's numerical settings."""
        self._order(do="rule")

    def input_memory(self) -> list[tuple[int, int]]:
        total = self.slots.layout.total_bytes
        return [(self._inputs_at, self._inputs_at + total)] if self._inputs_at else []

    def read(self, output: TensorDescription, address: int | None = None) -> Elements:
        elements = self._elements(output.as_real(), address)
        return Float32Elements(elements) if output.dtype.startswith("float8") else elements

    def block_order(self, block: TimedBlock) -> BlockOrder:
        order = super().block_order(block)
        unstaged = list(range(block.staged, block.calls))
        self._uploaded.update(range(max(block.calls, block.warm)))
        return BlockOrder(order.process, {**order.order, "upload": unstaged}, order.limit, order.staged, order.patience)

    def read_memory(self, address: int, size: int) -> torch.Tensor:
        """Return a copy of `size` bytes at an address of the process's device memory. Raises FailedError if there is no such memory."""
        if size == 0:
            return torch.empty(0, dtype=torch.uint8)
        inputs = self.input_memory()
        if inputs and inputs[0][0] <= address and address + size <= inputs[0][1]:
            first = address - inputs[0][0]
            return self._memory.read_input(self.number, first, first + size)
        # Later reports come last: an address may have been freed and allocated again.
        for each in reversed(self._allocations):
            if each.base <= address and address + size <= each.base + each.bytes:
                try:
                    first = address - each.base
                    return self._memory.read(each.handle, each.bytes, first, first + size)
                except UnreadableDeviceMemoryError as error:
                    raise self._lost(str(error)) from error
        raise self._lost("it is in no device memory that the process reported")

    def watch(self, block: TimedBlock) -> None:
        """Read some pieces of the results of a block that has just ended: the ends of the last call's, and some at random."""
        self._watched = []
        if block.calls == 0 or len(self._described) != block.outputs:
            return
        pointers = self.addresses(block.calls * block.outputs)
        sizes = [output.span * DTYPES[output.dtype].itemsize for output in self._described]
        pieces = [(pointer + size, size) for pointer, size in zip(pointers[-block.outputs :], sizes, strict=True)]
        ends = [(end - min(size, _GLANCE_BYTES), min(size, _GLANCE_BYTES)) for end, size in pieces]
        for _ in range(_GLANCES):
            place = self._random.randrange(len(pointers))
            size = sizes[place % block.outputs]
            part = min(size, _GLANCE_BYTES)
            ends.append((pointers[place] + self._random.randrange(size - part + 1), part))
        self._watched = [(at, self.read_memory(at, size)) for at, size in ends if size]

    def check_watched(self) -> None:
        """Raise FailedError if what `watch` read has changed since: work went on after the calls of the block had returned."""
        for at, seen in self._watched:
            if not torch.equal(self.read_memory(at, seen.numel()), seen):
                raise failed(Status.CHEATING, self.stage, "work on the device went on after the calls had returned")

    def read_run(self, output: TensorDescription, address: int, start: int, stop: int) -> torch.Tensor:
        """Return a part of an output of the last block, see `Runner.read_run`. Raises as `check_watched` does too."""
        found = super().read_run(output, address, start, stop)
        self.check_watched()
        return found

    def _lost(self, why: str) -> FailedError:
        return failed(Status.CRASHED, self.stage, f"the output could not be read: {why}")

    def _take_report(self, report: AnyReply) -> None:
        """Take the allocations that a block added, see `_checked`."""
        if not (isinstance(report, _GpuReply) and report.allocations):
            raise self._nonsense("a report without a failure")

    def _elements(self, output: TensorDescription, address: int | None) -> Elements:
        at = output.pointer if address is None else address
        if output.contiguous:
            return _DeviceElements(self, output, at)
        if output.span > max(_WIDEST * output.numel, 1 << 20):
            raise failed(Status.WRONG_SHAPE, self.stage, f"an output with strides {list(output.stride)}")
        size = output.span * DTYPES[output.dtype].itemsize
        if size > _MOST_WHOLE:
            raise failed(
                Status.WRONG_SHAPE,
                self.stage,
                f"an output of {size >> 20} MiB with strides {list(output.stride)}: above {_MOST_WHOLE >> 20} MiB it must be contiguous",
            )
        flat = self.read_memory(at, size).view(DTYPES[output.dtype])
        return TensorElements(flat.as_strided(output.shape, output.stride))

    def _checked(self, reply: Mapping[str, Any]) -> AnyReply:
        found = super()._checked(reply)
        if isinstance(found, _GpuReply):
            self._allocations.extend(found.allocations)
            if found.inputs_at is not None:
                self._inputs_at = found.inputs_at
            if found.calls:
                self._described = found.calls[-1].outputs
        return found


def _leaf(meta: Mapping[str, Any], memory: torch.Tensor) -> Any:
    """Return a leaf of the arguments from the bytes of its slot."""
    if "value" in meta:
        return meta["value"]
    dtype = DTYPES[meta["dtype"]]
    count = span_of(meta["shape"], meta["stride"])
    if count == 0:
        return torch.empty_strided(meta["shape"], meta["stride"], dtype=dtype)
    flat = memory[meta["offset"] : meta["offset"] + count * dtype.itemsize].view(dtype)
    return flat.as_strided(meta["shape"], meta["stride"])
