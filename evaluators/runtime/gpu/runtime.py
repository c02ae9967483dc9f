"""The runtime of one GPU of this machine, whose runners are children of a fork server with contexts of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evaluators.runtime.base import BlockResult, Observation, Runtime, TimedBlock
from evaluators.runtime.cpu.arena import Slots
from evaluators.runtime.cpu.child import READY
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.runner import CpuRunner
from evaluators.runtime.cpu.runner_process import BlockOrder, BlockReply
from evaluators.runtime.cpu.runtime import CpuRuntime
from evaluators.runtime.gpu.device_memory import ARENA_BYTES, DeviceMemory
from evaluators.runtime.gpu.runner import GpuRunner
from evaluators.runtime.layout import Layout
from evaluators.verdict import FailedError

_ENDLESS = 1e7
"""The seconds of processor time that the device process may take."""


class GpuRuntime(Runtime):
    """A runtime that starts its fork server and its device process on its first use, and others if they have died."""

    device_type = "cuda"
    start_error = 3e-5
    """A block begins with the wake-up of a process and the first launch, whose duration varies by some 30 us."""

    def __init__(self, server: ForkServer, threads: int, device: str) -> None:
        """Prepare the runtime without starting it.

        Args:
            server: A fork server whose runners are those of `evaluators.runtime.gpu.runner_main`, and see one GPU only.
            threads: The number of threads of each runner, with which `server` was made too.
            device: The name of the device lock.
        """
        self.device = device
        self.threads = threads
        self.server = server
        self.interruption = server.interruption
        self._memory: DeviceMemory | None = None
        self._host = CpuRuntime(server, threads)
        """What a GPU's runtime does as the CPU's does: observing the machine."""

    def start(self) -> None:
        self.server.start()

    def close(self) -> None:
        if self._memory is not None:
            self._memory.end()
            self._memory = None
        self._host.close()

    def rest(self) -> None:
        self.server.rest()

    def spawn(
        self,
        input_bytes: int,
        *,
        trusted: bool,
        memory_gb: float | None,
        processor_seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> GpuRunner:
        memory = self._device_memory()
        runner = self._host.spawn(
            input_bytes,
            trusted=trusted,
            memory_gb=memory_gb,
            processor_seconds=processor_seconds,
            environment=environment,
        )
        return GpuRunner(runner.process, memory, trusted=trusted)

    def stage(self, layout: Layout) -> Slots:
        return self._device_memory().stage(layout)

    def run(self, blocks: Sequence[TimedBlock]) -> list[BlockResult]:
        """Run timed blocks one after the other, see `Runtime.run`.

        A stopped process starts nothing, but the device goes on with what it was told. So pieces of the results are read at once, and
        again after all blocks and with whatever is read of the block later: in a runner that waited for its work they are the same.
        """
        results = []
        for block in blocks:
            results.append(self._watched(block, _ours(block).watch, self._run(block)))
        return [
            self._watched(block, lambda block: _ours(block).check_watched(), result)
            for block, result in zip(blocks, results, strict=True)
        ]

    def _watched(self, block: TimedBlock, look: Callable[[TimedBlock], None], result: BlockResult) -> BlockResult:
        """Look at the results of a block that did not fail, and return it with the failure that shows."""
        if result.failure is not None:
            return result
        try:
            look(block)
        except FailedError as error:
            return replace(result, failure=error.failure)
        return result

    def observe(self) -> Observation:
        return self._host.observe()

    def _run(self, block: TimedBlock) -> BlockResult:
        """Have the runner prepare, write its inputs on the device while it is stopped, and time its calls by the fork server's clock."""
        runner = _ours(block)
        order = runner.block_order(block)
        begin = time.perf_counter_ns()
        answer = self._prepared(order)
        if str(answer.get("reply", "")).startswith(READY):
            self._device_memory().fill(runner.number, *order.staged)
            left = max(order.limit - (time.perf_counter_ns() - begin) / 1e9, 1e-3)
            timed = self.server.order({"op": "block", "process": order.process.pid, "limit": left})
            order.process.note(timed, left)
            answer = {**answer, **timed}
        reply = BlockReply(order.process, {**answer, "spent_nanoseconds": time.perf_counter_ns() - begin})
        return BlockResult(reply.seconds, reply.lost, reply.noise, None, runner.failure_in(order, reply))

    def _prepared(self, order: BlockOrder) -> dict[str, Any]:
        """Have a process prepare a block, and return the fork server's answer; it is empty if the process has ended before."""
        process = order.process
        if process.ending is not None:
            return {}
        message = {"op": "ask", "process": process.pid, "message": dict(order.order), "limit": order.limit}
        answer = self.server.order({**message, "placed": True})
        process.note(answer, order.limit)
        return answer

    def _device_memory(self) -> DeviceMemory:
        self.interruption.check()
        if self._memory is None or not self._memory.alive:
            self._memory = DeviceMemory(self._device_process())
        return self._memory

    def _device_process(self) -> CpuRunner:
        return self._host.spawn(ARENA_BYTES, trusted=True, memory_gb=None, processor_seconds=_ENDLESS)


def _ours(block: TimedBlock) -> GpuRunner:
    if not isinstance(block.runner, GpuRunner):
        raise TypeError("a runner of another runtime")
    return block.runner
