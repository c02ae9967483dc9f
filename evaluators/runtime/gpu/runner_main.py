"""The main loop of a runner process whose implementation runs on a GPU.

The inputs of calls lie in device memory that the evaluator's device process allocates and writes (`device_process.py`). Results stay in
the memory of this process; replies tell where, and the device process reads them while this process is stopped.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from evaluators.runtime.cpu.runner_main import ImplementationError, RunnerMain
from evaluators.runtime.cpu.runner_main import serve as serve_on_cpu
from evaluators.runtime.gpu.driver import Allocation, Driver, DriverError, memory_at
from evaluators.runtime.layout import TABLE_BYTES, Layout
from evaluators.runtime.tensors import pointer_of, span_of
from kernelevolve.tasks.tensor_kinds import DTYPES

_WARM_ELEMENTS = 256
_PAGE_BITS = 21
"""The logarithm of the bytes of a page of device memory. Large allocations begin at multiples of it."""


def prepare_process(*, confined: bool) -> None:
    """Create the context of a candidate's process before it is confined, since the driver opens device files for it."""
    if confined:
        _start_device()


def serve(channel: int, arena: int) -> None:
    """Carry out orders until the channel is closed, see `evaluators.runtime.cpu.runner_main.serve`."""
    serve_on_cpu(channel, arena, GpuRunnerMain)


def _start_device() -> None:
    """Create the context and load what nearly every kernel needs: the allocator, copies and an elementwise kernel."""
    torch.cuda.init()
    x = torch.zeros(_WARM_ELEMENTS, device="cuda")
    (x + 1).cpu()
    torch.cuda.synchronize()


class GpuRunnerMain(RunnerMain):
    """Carries out orders with the implementation on the GPU."""

    device = "cuda"

    def __init__(self, channel: int, memory: mmap.mmap) -> None:
        super().__init__(channel, memory)
        self._driver: Driver | None = None
        self._host_address = torch.frombuffer(memory, dtype=torch.uint8).data_ptr()
        self._address = 0
        """The address of the device memory of inputs, or 0 if there is none yet."""
        self._device_inputs: torch.Tensor | None = None
        self._input_pages = range(0)
        self._slot_bytes = 0
        self._unstaged: Sequence[int] = ()
        """The slots of a timed block that get no values from the evaluator's stage."""
        self._exported: set[int] = set()
        """The allocations of this process that the evaluator knows."""
        self._pages: set[int] = set()
        """The pages of device memory that lie wholly in allocations which the evaluator knows."""
        self._settings: dict[str, Any] = {}
        """The settings of torch's numerics with which the implementation was loaded."""

    def obey(self, order: Mapping[str, Any]) -> dict[str, Any] | None:
        """Carry out one order, see `RunnerMain.obey`."""
        self._unstaged = order.get("upload", ())
        if "memory" in order:
            self._open_inputs(order["memory"]["handle"], order["memory"]["bytes"])
        if order["do"] in ("kernel", "reference"):
            self._start()
        if order["do"] == "kernel":
            self._settings = _numerics()
        reply = super().obey(order)
        if order["do"] == "host":
            attach = getattr(self._hosted, "attach", None)
            if attach is not None:
                attach(self._memory)
        return reply

    def placed(self, model: Any) -> Any:
        return model.to(device="cuda") if isinstance(model, torch.nn.Module) else model

    def leaves(self, layout: Layout, slot: int) -> list[Any]:
        self._slot_bytes = layout.slot_bytes
        return [self._leaf(meta, TABLE_BYTES + slot * layout.slot_bytes) for meta in layout.inputs]

    def synchronize(self) -> None:
        if self._driver is not None:
            self._driver.synchronize()

    def whereabouts(self, results: Iterable[Sequence[torch.Tensor]]) -> dict[str, Any]:
        told = []
        for tensors in results:
            for tensor in tensors:
                found = self._export(pointer_of(tensor))
                if found is not None:
                    told.append(found)
        return {"allocations": told, "inputs_at": self._address}

    def block_report(self, table: memoryview) -> bytes:
        """Return the line that ends a timed block. It names the allocations of results that the evaluator does not know yet.

        This is in the time of the block, so that nothing is left to do after it. Known memory is recognised by its pages.
        """
        pages = self._pages
        unknown = [pointer for pointer in table.tolist() if pointer >> _PAGE_BITS not in pages and pointer]
        told = [found for found in map(self._export, unknown) if found is not None]
        return json.dumps({"allocations": told}).encode() + b"\n" if told else b"\n"

    def _call(self, slots: list[int]) -> dict[str, Any]:
        self._upload(slots)
        reply = super()._call(slots)
        self._check_numerics()
        return reply

    def _prepare(
        self, calls: int, outputs: int, slots: list[int], padding: int, *, touch: bool
    ) -> dict[str, Any] | None:
        self._results.clear()
        self._upload(self._unstaged)
        self._check_numerics()
        return super()._prepare(calls, outputs, slots, padding, touch=touch)

    def _padded(self, size: int, *, touch: bool) -> torch.Tensor:
        padding = torch.empty(size, dtype=torch.uint8, device="cuda")
        if touch and size and self._driver is not None:
            self._driver.fill(padding.data_ptr(), size)
        return padding

    def _check_rule(self) -> None:
        self._check_numerics()
        super()._check_rule()

    def _start(self) -> Driver:
        if self._driver is None:
            _start_device()
            self._driver = Driver()
        return self._driver

    def _open_inputs(self, handle: str, size: int) -> None:
        driver = self._start()
        self._results.clear()
        self._inputs = []
        self._device_inputs = None
        if self._address:
            with suppress(DriverError):
                driver.close(self._address)
        self._pages.difference_update(self._input_pages)
        self._address = driver.open(handle)
        self._input_pages = range(-(-self._address >> _PAGE_BITS), (self._address + size) >> _PAGE_BITS)
        self._pages.update(self._input_pages)
        self._device_inputs = memory_at(self._address, size)

    def _leaf(self, meta: Mapping[str, Any], slot_at: int) -> Any:
        if "value" in meta:
            return meta["value"]
        dtype = DTYPES[meta["dtype"]]
        count = span_of(meta["shape"], meta["stride"])
        if count == 0 or self._device_inputs is None:
            return torch.empty_strided(meta["shape"], meta["stride"], dtype=dtype, device="cuda")
        first = slot_at + meta["offset"]
        flat = self._device_inputs[first : first + count * dtype.itemsize].view(dtype)
        return flat.as_strided(meta["shape"], meta["stride"])

    def _upload(self, slots: Iterable[int]) -> None:
        """Copy slots from the memory that is shared with the evaluator to the device, by the driver: the task may forbid torch's copies."""
        if self._driver is None or not self._address:
            return
        for slot in sorted(set(slots)):
            first = TABLE_BYTES + slot * self._slot_bytes
            self._driver.copy_to_device(self._address + first, self._host_address + first, self._slot_bytes)

    def _export(self, pointer: int) -> dict[str, Any] | None:
        """Return the allocation of a result, or None if the evaluator knows it already or the result is empty."""
        if pointer == 0 or self._driver is None:
            return None
        try:
            found: Allocation = self._driver.allocation_of(pointer)
            if found.base == self._address or found.identity in self._exported:
                return None
            handle = self._driver.export(found)
            whole = range(-(-found.base >> _PAGE_BITS), (found.base + found.size) >> _PAGE_BITS)
        except DriverError as error:
            raise ImplementationError(
                "wrong_shape", f"forward returned a result in memory that cannot be shared: {error}"
            ) from error
        self._exported.add(found.identity)
        self._pages.update(whole)
        return {"base": found.base, "bytes": found.size, "handle": handle}

    def _check_numerics(self) -> None:
        """Raise ImplementationError if the kernel changed how torch computes: that is the task's to decide."""
        now = _numerics()
        changed = [name for name, value in self._settings.items() if now[name] != value]
        if changed:
            raise ImplementationError("cheating", f"the kernel changed {changed[0]} to {now[changed[0]]}")


def _numerics() -> dict[str, Any]:
    """Return torch's settings that decide how exactly it computes."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return {
        "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision(),
        "torch.backends.cuda.matmul.allow_tf32": matmul.allow_tf32,
        "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": str(
            matmul.allow_fp16_reduced_precision_reduction
        ),
        "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": str(
            matmul.allow_bf16_reduced_precision_reduction
        ),
        "torch.backends.cudnn.allow_tf32": cudnn.allow_tf32,
        "torch.backends.cudnn.enabled": cudnn.enabled,
    }
