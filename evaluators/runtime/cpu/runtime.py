"""The CPU runtime, whose runners are children of a fork server on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from evaluators.runtime.base import BlockResult, Observation, Runtime, TimedBlock
from evaluators.runtime.cpu.arena import Slots
from evaluators.runtime.cpu.fork_server import ForkServer
from evaluators.runtime.cpu.machine_state import Snapshot, between, snapshot
from evaluators.runtime.cpu.runner import CpuRunner
from evaluators.runtime.cpu.runner_process import BlockOrder, BlockReply
from evaluators.runtime.cpu.stillness import Stillness
from evaluators.runtime.layout import Layout
from kernelevolve.core.bystanders import bystanders
from kernelevolve.core.evaluation import MachineState

_TRUSTED_SHARE = 0.8
"""The share of the free memory that a trusted runner may take."""


@dataclass(frozen=True)
class _Observed:
    """An observation that began with a snapshot."""

    before: Snapshot

    def finish(self, disturbed_above: float) -> MachineState:
        return between(self.before, snapshot(), disturbed_above)


class CpuRuntime(Runtime):
    """A runtime that starts its fork server on its first use, and another one if that has died."""

    start_error = 1.5e-5
    """The first call of a block finds other data in the caches. It takes some 10 to 20 us longer than the second one."""

    def __init__(self, server: ForkServer, threads: int) -> None:
        """`threads` is the number of threads of each runner, with which `server` was made too."""
        self.device = "cpu"
        self.threads = threads
        self.server = server
        self.interruption = server.interruption
        self._stillness = Stillness()

    def start(self) -> None:
        self.server.start()

    def close(self) -> None:
        self._stillness.close()
        self.server.close()

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
    ) -> CpuRunner:
        process = self.server.spawn(
            input_bytes,
            trusted=trusted,
            memory_gb=_free_gb() if memory_gb is None else memory_gb,
            cpu_seconds=processor_seconds,
            environment=environment,
        )
        return CpuRunner(process, trusted=trusted)

    def stage(self, layout: Layout) -> Slots:
        return Slots(self.server.stage(layout.total_bytes).memory, layout)

    def run(self, blocks: Sequence[TimedBlock]) -> list[BlockResult]:
        runners = [_ours(block) for block in blocks]
        orders = [runner.block_order(block) for runner, block in zip(runners, blocks, strict=True)]
        replies = self.server.run(orders)
        return [_result(*each) for each in zip(runners, orders, replies, strict=True)]

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._stillness.kept(bystanders()):
            yield

    def observe(self) -> Observation:
        return _Observed(snapshot())


def _ours(block: TimedBlock) -> CpuRunner:
    if not isinstance(block.runner, CpuRunner):
        raise TypeError("a runner of another runtime")
    return block.runner


def _result(runner: CpuRunner, order: BlockOrder, reply: BlockReply) -> BlockResult:
    failure = runner.failure_in(order, reply)
    return BlockResult(reply.seconds, reply.lost, reply.noise, reply.idle, failure)


def _free_gb() -> float:
    return _TRUSTED_SHARE * float(psutil.virtual_memory().available) / (1 << 30)
