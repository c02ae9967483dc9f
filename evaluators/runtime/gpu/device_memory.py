"""The worker's side of the device process: device memory that the worker asks for, writes and reads without a context of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from evaluators.runtime.base import RuntimeLostError
from evaluators.runtime.cpu.arena import Slots
from evaluators.runtime.cpu.runner import CpuRunner
from evaluators.runtime.interruption import InterruptedJobError
from evaluators.runtime.layout import Layout
from evaluators.verdict import FailedError, failed
from kernelevolve.core.evaluation import Status

WINDOW_BYTES = 64 << 20
"""The bytes that are read from the device at a time."""
STAGE_BYTES = 1 << 36
"""The bytes of address space for the stage. A page takes memory only once it is written to."""
ARENA_BYTES = STAGE_BYTES + WINDOW_BYTES
"""The bytes of the memory that the worker and the device process share."""
_SECONDS = 120.0
"""The seconds that one order to the device process may take."""


class UnreadableDeviceMemoryError(Exception):
    """The memory that a runner reported does not exist, or cannot be read."""


class DeviceMemory:
    """Device memory through the device process."""

    def __init__(self, process: CpuRunner) -> None:
        """`process` is a trusted runner process with `ARENA_BYTES` of shared memory that holds nothing yet."""
        self._process = process
        self._released: list[dict[str, Any]] = []
        """What is to be freed."""
        process.allow(_SECONDS)
        try:
            process.host("evaluators.runtime.gpu.device_process:DeviceProcess")
        except FailedError as error:
            raise RuntimeLostError(f"the device process did not start: {error.failure.summary}") from error
        self._window = torch.frombuffer(process.process.arena.memory, dtype=torch.uint8)[STAGE_BYTES:]

    @property
    def alive(self) -> bool:
        """Whether the device process lives."""
        return self._process.alive

    def stage(self, layout: Layout) -> Slots:
        """Return slots in the memory that is shared with the device process, which no runner can read."""
        if layout.total_bytes > STAGE_BYTES:
            raise failed(Status.OUT_OF_MEMORY, "timing", f"inputs of {layout.total_bytes >> 30} GiB")
        self._process.process.arena.use(layout)
        return Slots(self._process.process.arena.memory, layout)

    def allocate(self, runner: int, size: int, stage: str) -> str:
        """Allocate the memory of a runner's inputs and return its handle. Raises FailedError, of `stage`, if the device has no room."""
        answer = self._ask("allocate", runner=runner, size=size)
        if "error" in answer:
            raise failed(Status.OUT_OF_MEMORY, stage, f"no room for the inputs on the device: {answer['error']}")
        return str(answer["handle"])

    def release(self, runner: int, handles: Sequence[str]) -> None:
        """Free the memory of a runner's inputs and close the given memory of its process, now or before the next order.

        It is later where the job was interrupted. Nothing is raised: if the device process has ended, its memory is free.
        """
        self._released.append({"runner": runner, "handles": list(handles)})
        with suppress(RuntimeLostError, InterruptedJobError):
            self._release()

    def fill(self, runner: int, first: int, last: int) -> None:
        """Copy bytes [first, last) of the stage to a runner's inputs, and flush the device's caches."""
        self._ask("stage", runner=runner, first=first, last=last)

    def read_input(self, runner: int, first: int, last: int) -> torch.Tensor:
        """Return a copy of bytes [first, last) of a runner's inputs as they are on the device."""
        return self._read("read_input", first, last, runner=runner)

    def read(self, handle: str, size: int, first: int, last: int) -> torch.Tensor:
        """Return a copy of bytes [first, last) of the allocation that a runner exported.

        Raises:
            UnreadableDeviceMemoryError: The runner reported what does not exist.
        """
        return self._read("read", first, last, handle=handle, size=size)

    def facts(self) -> Mapping[str, Any]:
        """Return what the device says of itself."""
        return self._ask("facts")

    def end(self) -> None:
        """End the device process."""
        self._process.end()

    def _read(self, method: str, first: int, last: int, **arguments: Any) -> torch.Tensor:
        found = torch.empty(last - first, dtype=torch.uint8)
        for start in range(first, last, WINDOW_BYTES):
            stop = min(last, start + WINDOW_BYTES)
            answer = self._ask(method, **arguments, first=start, last=stop, at=STAGE_BYTES)
            if "error" in answer:
                raise UnreadableDeviceMemoryError(str(answer["error"]))
            found[start - first : stop - first] = self._window[: stop - start]
        return found

    def _release(self) -> None:
        while self._released:
            self._order("release", **self._released[-1])
            self._released.pop()

    def _ask(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        self._release()
        return self._order(method, **arguments)

    def _order(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        self._process.allow(_SECONDS)
        try:
            return self._process.ask(method, **arguments)
        except FailedError as error:
            raise RuntimeLostError(f"the device process ended: {error.failure.summary}") from error
